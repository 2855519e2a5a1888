/**
 * libtorrent, which qBittorrent and Deluge are built on, over SOCKS5 UDP: it announces itself to a UDP tracker (BEP 15)
 * whose name only the exit can resolve.
 * @module-tag waits
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startDnsServer } from '../support/net/dns-server.ts';
import { UdpClient } from '../support/net/udp.ts';
import { runWell } from '../support/programs/programs.ts';
import { startStack } from '../support/programs/wstun-stack.ts';
import { atEnd } from '../support/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

const TRACKER = 'tracker.example.net';
const ACTION = { connect: 0, announce: 1 } as const;

/** Announces a torrent, and prints what the tracker has answered. */
const PROGRAM = `
import sys, time
import libtorrent as lt
session = lt.session({
  'proxy_type': lt.proxy_type_t.socks5, 'proxy_hostname': '127.0.0.1', 'proxy_port': int(sys.argv[1]),
  'proxy_hostnames': True, 'proxy_peer_connections': True, 'proxy_tracker_connections': True,
  'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
  'listen_interfaces': '127.0.0.1:0', 'alert_mask': lt.alert.category_t.all_categories,
})
torrent = lt.add_torrent_params()
torrent.info_hashes = lt.info_hash_t(lt.sha1_hash(b'wstunwstunwstunwstun'))
torrent.trackers = ['udp://${TRACKER}:' + sys.argv[2] + '/announce']
torrent.save_path = sys.argv[3]
session.add_torrent(torrent)
while True:
  session.wait_for_alert(1000)
  for alert in session.pop_alerts():
    print(type(alert).__name__, alert.message(), file=sys.stderr)
    if isinstance(alert, lt.tracker_reply_alert):
      print('peers', alert.num_peers)
      sys.exit(0)
`;

/** Answers with one peer. Returns its port, and the actions that it was asked for. */
async function startTracker(): Promise<{ port: number; actions: number[] }> {
  const tracker = await UdpClient.open();
  const actions: number[] = [];
  tracker.socket.on('message', (request, { port, address }) => {
    const action = request.readUInt32BE(8);
    const transaction = request.subarray(12, 16);
    actions.push(action);
    const words = action === ACTION.connect ? [1, 2] : [1_800, 0, 1];
    const answer = Buffer.alloc(8 + 4 * words.length);
    answer.writeUInt32BE(action, 0);
    transaction.copy(answer, 4);
    for (const [index, word] of words.entries()) answer.writeUInt32BE(word, 8 + 4 * index);
    const peers = action === ACTION.announce ? [Buffer.from([192, 0, 2, 7, 0x1a, 0xe1])] : [];
    tracker.socket.send(Buffer.concat([answer, ...peers]), port, address);
  });
  return { port: tracker.port, actions };
}

it('libtorrent announces itself to a UDP tracker, over SOCKS5 and through a relay', async () => {
  const dns = await startDnsServer({ [TRACKER]: { addresses: ['127.0.0.1'] } });
  atEnd(() => dns.close());
  const { client } = await startStack({ dns });
  const tracker = await startTracker();
  const dir = await tempDir();
  const program = join(dir, 'announce.py');
  await writeFile(program, PROGRAM);
  const args = [program, String(client.port), String(tracker.port), dir];
  expect(await runWell('/usr/bin/python3', args, { limitMs: 30_000 })).toBe('peers 1\n');
  expect(tracker.actions.slice(0, 2)).toEqual([ACTION.connect, ACTION.announce]);
});
