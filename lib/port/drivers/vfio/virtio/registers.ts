/** What a virtio-net device has behind PCI: virtio 1.2, sections 4.1 (Virtio Over PCI Bus) and 5.1 (Network Device). */

// 4.1.4, struct virtio_pci_cap, in the configuration space. Bytes from the capability's first one.
export const PCI_CAPABILITIES = 0x34;
export const PCI_STATUS = 0x06;
export const PCI_STATUS_CAPABILITIES = 1 << 4;
export const CAP_VENDOR = 0x09;
export const CAP_LENGTH = 2;
export const CAP_TYPE = 3;
export const CAP_BAR = 4;
export const CAP_OFFSET = 8;
export const CAP_BYTES = 12;
/** Of the notification capability: from one queue's notify offset to the next (4.1.4.4). */
export const CAP_MULTIPLIER = 16;
export const TYPE_COMMON = 1;
export const TYPE_NOTIFY = 2;
export const TYPE_DEVICE = 4;

/** Which structure is where. With MSI-X the ISR status says nothing, so it is not asked for (4.1.4.5). */
export const NEEDED = [
  ['common', TYPE_COMMON, 56], ['notify', TYPE_NOTIFY, 2], ['device', TYPE_DEVICE, 8],
] as const;

// 4.1.4.3, struct virtio_pci_common_cfg
/** u32 each; the 64 feature bits go through a window of 32. */
export const DEVICE_FEATURE_SELECT = 0;
export const DEVICE_FEATURE = 4;
export const DRIVER_FEATURE_SELECT = 8;
export const DRIVER_FEATURE = 12;
/** u16: the MSI-X vector of configuration changes. */
export const CONFIG_VECTOR = 16;
export const NUM_QUEUES = 18;
/** u8 */
export const DEVICE_STATUS = 20;
export const CONFIG_GENERATION = 21;
/** u16 each, of the selected queue. */
export const QUEUE_SELECT = 22;
export const QUEUE_SIZE = 24;
export const QUEUE_VECTOR = 26;
export const QUEUE_ENABLE = 28;
export const QUEUE_NOTIFY_OFF = 30;
/** u64, written as two halves. */
export const QUEUE_DESC = 32;
export const QUEUE_DRIVER = 40;
export const QUEUE_DEVICE = 48;
export const NO_VECTOR = 0xffff;

// 2.1, device status
export const STATUS_ACKNOWLEDGE = 1;
export const STATUS_DRIVER = 2;
export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;
export const STATUS_NEEDS_RESET = 64;

// 5.1.4, struct virtio_net_config
export const NET_MAC = 0;
export const NET_STATUS = 6;
export const NET_MAX_PAIRS = 8;
export const NET_MTU = 10;
export const NET_SPEED = 12;
export const NET_DUPLEX = 16;
/** u8 bytes of an RSS key, u16 entries of a table, u32 VIRTIO_NET_HASH_TYPE_*; with VIRTIO_NET_F_RSS. */
export const NET_RSS_MAX_KEY = 17;
export const NET_RSS_MAX_TABLE = 18;
export const NET_RSS_HASH_TYPES = 20;
export const NET_S_LINK_UP = 1;

// 5.1.6.5, commands of the control queue: class and command
export const CTRL_RX_PROMISC = [0, 0] as const;
export const CTRL_RX_ALLMULTI = [0, 1] as const;
export const CTRL_MAC_TABLE_SET = [1, 0] as const;
export const CTRL_VLAN_ADD = [2, 0] as const;
export const CTRL_VLAN_DEL = [2, 1] as const;
export const CTRL_MQ_PAIRS_SET = [4, 0] as const;
export const CTRL_MQ_RSS_CONFIG = [4, 1] as const;
export const CTRL_ACK_OK = 0;
