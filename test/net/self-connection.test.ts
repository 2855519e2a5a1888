import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isSelfConnected } from '../../src/net/self-connection.ts';

describe('isSelfConnected', () => {
  it('tells a connection that has met itself from others', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const other = connect(port, '127.0.0.1');
    await once(other, 'connect');
    expect(isSelfConnected(other)).toBe(false);
    other.destroy();
    server.close();
    await once(server, 'close');
    const itself = connect({ host: '127.0.0.1', port, localPort: port });
    onTestFinished(() => void itself.destroy());
    await once(itself, 'connect');
    expect(isSelfConnected(itself)).toBe(true);
  });
});
