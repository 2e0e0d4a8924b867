/** What every queue of a VFIO device has in the driver's part of its state: whose it is. Plain number constants. */
/** u32: which device's burst functions poll it, VFIO_E1000E or another. */
export const VFIO_DEVICE = 192;
export const VFIO_E1000E = 1;
