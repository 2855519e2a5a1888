/** A proxy on a free port before a fake tunnel, and gone with the test. */
import { onTestFinished } from 'vitest';
import { silentLogger } from '../../../src/observability/logger.ts';
import { type ProxyServer, type ProxyServerOptions, startProxyServer } from '../../../src/proxy/proxy-server.ts';
import { FakeOpener } from './fake-opener.ts';

export interface TestProxy {
  readonly proxy: ProxyServer;
  readonly port: number;
  readonly opener: FakeOpener;
}

/** Every stream leads to `targetPort` of 127.0.0.1, whatever was asked for. */
export async function proxyTo(targetPort: number, options: Partial<ProxyServerOptions> = {}): Promise<TestProxy> {
  const opener = new FakeOpener(targetPort);
  const proxy = await startProxyServer({ host: '127.0.0.1', port: 0, opener, logger: silentLogger, ...options });
  onTestFinished(() => proxy.close(0));
  return { proxy, port: proxy.address.port, opener };
}
