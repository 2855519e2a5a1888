/** A transfer by a client's proxy that has to arrive whole. */
import { expect } from 'vitest';
import { exchange } from '../payload.ts';
import type { RunningClient } from '../programs/wstun-stack.ts';
import { connectThrough } from './through-proxy.ts';

const MIB = 1024 * 1024;

/** To an echo and back. @param target its port */
export async function carry({ port }: RunningClient, target: number, bytes = MIB): Promise<void> {
  const socket = await connectThrough('SOCKS5', port, target);
  const { sent, received } = await exchange(socket, bytes, 1);
  expect(received).toEqual({ bytes, hash: sent });
}
