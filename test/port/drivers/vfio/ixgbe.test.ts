/** The 82599's driver against a model of its registers that was written from the datasheet, apart from the driver: how it begins and ends. */
import t from 'tap';
import { MAC, numbered, on } from './ixgbe_helper.js';
import { Lab } from './model_nic.js';

on('it has its address and a link, and nothing that the datasheet forbids was done', { queues: 4 }, (t, { port, model }) => {
  t.equal(port.mac, MAC);
  t.same(port.link.read(), { up: true, mbps: 10000, fullDuplex: true });
  t.same(model.violations, []);
  t.match(port.capabilities.mode, /82599/);
});

/** What the device's ways do not show here, since the model has no such way: by the register, and what of it must be what. */
on('registers that no frame tells of', { queues: 2 }, (t, { peek }) => {
  const wanted: [what: string, offset: number, bits: number, value: number][] = [
    ['4.6.3.2: FCRTH[0] is RXPBSIZE[0] - 0x6000', 0x03260, 0x7fffffff, 0x80000 - 0x6000], ['FCCFG: no flow control', 0x03d00, 0xffffffff, 0], ['CTRL_EXT.DRV_LOAD', 0x00018, 1 << 28, 1 << 28],
    ['RFCTL.RSC_DIS', 0x05008, 1 << 5, 1 << 5], ['FTQF[127].Queue Enable', 0x0e600 + 4 * 127, 0x80000000, 0], ['4.6.11.3.4: RXPBSIZE[7]', 0x03c1c, 0xffc00, 0],
    ['4.6.11.3.4: DTXMXSZRQ', 0x08100, 0xfff, 0xfff], ['TXPBSIZE[0]', 0x0cc00, 0xffc00, 0xa0 << 10], ['TXPBSIZE[1]', 0x0cc04, 0xffc00, 0], ['MTQC', 0x08120, 0xf, 0],
    ['DCA_TXCTRL[1].TXdescWBROen', 0x0604c, 1 << 11, 0], ['4.6.6: EIAC', 0x00810, 0xffff, 3], ['EIAM', 0x00890, 0xffff, 3], ['IVAR[0]', 0x00900, 0xffffffff, 0x00810080], ['IVAR_MISC', 0x00a00, 0x8080, 0x8000],
  ];
  for (const [what, offset, bits, value] of wanted) t.equal((peek(offset) & bits) >>> 0, value, what);
});

on('it begins in the order of the datasheet\'s 4.6.3', { queues: 2 }, (t, { nic }) => {
  const order: [what: string, offset: number, bits: number][] = [
    ['4.6.3.1: EIMC', 0x00888, 0x7fffffff], ['5.2.5.3.2: CTRL, no transfers', 0x00000, 1 << 2], ['4.6.3.2: CTRL.RST and LRST', 0x00000, (1 << 26) | (1 << 3)], ['4.6.3.1: EIMC again', 0x00888, 0x7fffffff],
    ['4.6.4: AUTOC.Restart_AN', 0x042a0, 1 << 12], ['4.6.7: SRRCTL[1]', 0x01054, 1 << 25], ['RXDCTL[1].ENABLE', 0x01068, 1 << 25], ['SECRXCTRL.RX_DIS', 0x08d00, 1 << 1], ['RXCTRL.RXEN', 0x03000, 1],
    ['4.6.8: RTTDCS.ARBDIS', 0x04900, 1 << 6], ['RTTDQSEL 127', 0x04904, 127], ['RTTDT1C', 0x04908, 0], ['DMATXCTL.TE', 0x04a80, 1], ['TXDCTL[1].ENABLE', 0x06068, 1 << 25], ['4.6.6: IVAR', 0x00900, 0x00810080], ['EIMS.LSC', 0x00880, 1 << 20],
  ];
  let at = 0;
  for (const [what, offset, bits] of order) {
    const next = nic.written.findIndex((each, i) => i >= at && each.offset === offset && (each.value & bits) === bits);
    t.ok(next >= 0, what);
    at = next + 1;
  }
  t.equal(nic.written.filter(({ offset, value }) => offset === 0x04908 && value === 0).length, 128, 'a credit of 0 for each transmit queue');
});

on('opened anew after a close, it works; a device that has gone costs an error at most', {}, (t, made) => {
  made.send([numbered(1)]);
  made.port.close();
  t.equal(made.pool.audit().free, made.pool.size);
  made.open({ queues: 4 });
  made.send([numbered(2)], 3);
  t.same(made.nic.sent, [numbered(1), numbered(2)]);
  made.nic.faults.gone = true;
  t.same(made.port.link.read(), { up: false, mbps: 0, fullDuplex: false });
  made.stats();
  made.port.promiscuous(true);
  made.port.close();
  t.throws(() => made.open(), { code: 'EUNSUPPORTED' });
  made.nic.faults.gone = false;
  made.open();
  made.model.receive(numbered(3));
  t.same(made.receive(), [numbered(3)]);
});

t.test('what does not come to an end is an error that names the device', async t => {
  const made = new Lab();
  t.teardown(() => { made.close(); });
  const wrong: [what: string, register: number, value: number][] = [
    ['the reset', 0x00000, 1 << 3], ['the EEPROM', 0x10010, 0], ['the DMA', 0x02f00, 0], ['no address', 0x0a204, 0], ['a receive queue', 0x01028, 0], ['the receive path', 0x08d04, 0], ['a transmit queue', 0x06028, 0],
  ];
  for (const [what, register, value] of wrong) {
    made.nic.faults.stuck.set(register, value);
    t.throws(() => made.open(), { code: 'EUNSUPPORTED', message: /^vfio:model: / }, what);
    t.equal(made.pool.audit().free, made.pool.size);
    made.nic.faults.stuck.clear();
  }
  made.nic.faults.stuck.set(0x00008, 1 << 19);
  made.open();
  t.pass('transfers that do not end are flushed, and there are two resets');
  made.nic.faults.stuck.clear();
  made.send([numbered(1)]);
  t.same(made.nic.sent, [numbered(1)]);
  t.throws(() => made.open({ queues: 17 }), { code: 'EOPTION' });
});
