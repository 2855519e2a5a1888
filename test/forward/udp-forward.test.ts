import { describe, expect, it, onTestFinished } from 'vitest';
import { parseForward } from '../../src/forward/forward.ts';
import { UdpForward, type UdpForwardOptions } from '../../src/forward/udp-forward.ts';
import { silentLogger } from '../../src/observability/logger.ts';
import { collectingLogger } from '../support/collecting-logger.ts';
import { ipTarget } from '../support/net/targets.ts';
import { UdpClient } from '../support/net/udp.ts';
import { FakeAssociations } from '../support/proxy/fake-associations.ts';
import { until } from '../support/until.ts';

async function forwardTo(text: string, options: Partial<UdpForwardOptions> = {}) {
  const opener = new FakeAssociations();
  opener.echoes = true;
  const forward = parseForward(text) as UdpForwardOptions['forward'];
  const udp = new UdpForward({ forward, opener, logger: silentLogger, ...options });
  onTestFinished(() => udp.close());
  await udp.start();
  return { udp, opener, ...udp.listen };
}

describe('a UDP forward', () => {
  it.each([
    ['127.0.0.1', '0:192.0.2.7:53/udp'],
    ['::1', '[::1]:0:192.0.2.7:53/udp'],
    ['127.0.0.1', 'localhost:0:192.0.2.7:53/udp'],
  ])('answers come from the port to which the datagram went: at %s by %s', async (address, text) => {
    const { opener, host, port } = await forwardTo(text);
    const client = await UdpClient.open(host);
    await client.send('one', port, host);
    await until(() => client.received.length === 1);
    expect(client.received[0]).toMatchObject({ bytes: Buffer.from('one'), from: { port } });
    expect(opener.associations[0]?.target).toEqual(ipTarget('192.0.2.7', 53));
    expect(['127.0.0.1', address]).toContain(client.received[0]?.from.address.replace('::1', address));
  });

  it('datagrams of every length that UDP can have go both ways', async () => {
    const { host, port } = await forwardTo('0:192.0.2.7:53/udp');
    const client = await UdpClient.open();
    for (const length of [0, 1, 1_400, 9_000, 65_507]) {
      await client.send(Buffer.alloc(length, 'x'), port, host);
      expect((await client.take()).length).toBe(length);
    }
  });

  it('a port that is taken is told, with a forward at another one', async () => {
    const { port } = await UdpClient.open();
    await expect(forwardTo(`${port}:192.0.2.7:53/udp`)).rejects.toMatchObject({
      fault: 'cannot-listen',
      message: expect.stringContaining(`--local-forward 127.0.0.1:${port + 1}:HOST:PORT.`),
    });
  });

  it('an exit that refuses is reported once, without the target', async () => {
    const { logger, lines } = collectingLogger();
    const { opener, host, port } = await forwardTo('0:secret.example:53/udp', { logger });
    opener.associationFault = 'service-unknown';
    const client = await UdpClient.open();
    await until(() => {
      void client.send('x', port, host);
      return opener.attempts >= 2;
    });
    const warnings = lines.filter(({ level }) => level === 40);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.message).toContain('too old');
    expect(JSON.stringify(lines)).not.toContain('secret.example');
  });
});
