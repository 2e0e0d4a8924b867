/** What every queue of a VFIO device has in the driver's part of its state: whose it is. Plain number constants. */
/** u32, behind all that any of them has: which device's burst functions poll it, VFIO_INTEL or another. */
export const VFIO_DEVICE = 1020;
export const VFIO_INTEL = 1;
export const VFIO_VIRTIO = 2;
