/**
 * `--tproxy` and `--redirect`: makes transparent proxies of a client's options. What they need is loaded for them only.
 */
import { networkInterfaces } from 'node:os';
import { WstunError } from '../errors.ts';
import { type IpBytes, parseIp, sameIp } from '../net/ip.ts';
import type { LoopCheck } from '../transparent/refused-places.ts';
import type { Place } from '../transparent/socket-address.ts';
import type { ClientService, ServiceParts } from './client-services.ts';

interface TransparentPlace {
  /** An IP address of this machine. Default: all, of both families. */
  readonly host?: string;
  /** 1 to 65535 */
  readonly port: number;
}

export interface TransparentOptions {
  /**
   * Linux: takes connections and datagrams that TPROXY of the firewall leads there, and sends them to their original
   * destinations. Needs CAP_NET_ADMIN and the package koffi. Default: none.
   */
  readonly tproxy?: TransparentPlace;
  /** Linux: the same for connections that REDIRECT leads there. Needs the package koffi. Default: none. */
  readonly redirect?: TransparentPlace;
}

export interface TransparentEvents {
  /** A transparent proxy listens, on all addresses unless one is named. */
  onTransparent?(kind: 'tproxy' | 'redirect', place: TransparentPlace): void;
}

const ALL_ADDRESSES = ['0.0.0.0', '::'];

/** @throws WstunError bad-option, transparent-unsupported */
export async function transparentServices(
  { tproxy, redirect, events }: TransparentOptions & { readonly events?: TransparentEvents },
  parts: ServiceParts,
): Promise<readonly ClientService[]> {
  if (tproxy === undefined && redirect === undefined) return [];
  const [{ loadNative }, { TransparentListener }, { TransparentDatagrams }] = await Promise.all([
    import('../transparent/native.ts'),
    import('../transparent/transparent-listener.ts'),
    import('../transparent/transparent-datagrams.ts'),
  ]);
  const native = await loadNative();
  const services: ClientService[] = [];
  const { tunnel: opener, logger } = parts;
  if (redirect !== undefined) {
    const shared = { places: placesOf(redirect), native, opener, loops: loopCheck(redirect, parts), logger };
    services.push(new TransparentListener({ kind: 'redirect', ...shared }));
    services.push(announcement(() => events?.onTransparent?.('redirect', redirect)));
  }
  if (tproxy !== undefined) {
    const shared = { places: placesOf(tproxy), native, opener, loops: loopCheck(tproxy, parts), logger };
    services.push(new TransparentListener({ kind: 'tproxy', ...shared }), new TransparentDatagrams(shared));
    services.push(announcement(() => events?.onTransparent?.('tproxy', tproxy)));
  }
  return services;
}

/** Services start one after another. */
function announcement(announce: () => void): ClientService {
  return { start: async () => announce(), close: async () => {} };
}

function placesOf({ host, port }: TransparentPlace): readonly Place[] {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new WstunError('bad-option', 'a transparent proxy needs a port from 1 to 65535');
  return (host === undefined ? ALL_ADDRESSES : [host]).map((address) => {
    const ip = parseIp(address);
    if (ip === undefined) throw new WstunError('bad-option', `${JSON.stringify(address)} is not an IP address`);
    return { ip, port };
  });
}

function loopCheck({ port }: TransparentPlace, { dialled }: ServiceParts): LoopCheck {
  return { port, isOwnAddress, isRelay: (place) => dialled.has(place) };
}

/** Asked only where the port fits. */
function isOwnAddress(ip: IpBytes): boolean {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return all.some(({ address }) => sameIp(parseIp(address) ?? new Uint8Array(), ip));
}
