/** What every queue of a VFIO device has in the driver's part of its state: whose it is. Plain number constants. */
/** u32: which device's burst functions poll it, VFIO_INTEL or another. */
export const VFIO_DEVICE = 192;
export const VFIO_INTEL = 1;
