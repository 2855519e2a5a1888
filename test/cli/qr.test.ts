/** The code in the terminal, read back by another implementation. */
import decodeQR from 'qr/decode.js';
import { describe, expect, it } from 'vitest';
import { drawQr } from '../../src/cli/qr.ts';
import { createSecret, secretToText } from '../../src/tether/shared/pairing.ts';

const SCALE = 4;
const ESCAPES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');

/** What a camera sees of the characters: `ink` is the grey of what they draw, `paper` of what they leave. */
function photograph(text: string, ink: number, paper: number): { width: number; height: number; data: Uint8Array } {
  const lines = text
    .replace(ESCAPES, '')
    .split('\n')
    .map((line) => [...line]);
  const [width, height] = [(lines[0]?.length ?? 0) * SCALE, lines.length * 2 * SCALE];
  const data = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const row = Math.floor(y / SCALE);
      const character = lines[row >> 1]?.[Math.floor(x / SCALE)] ?? ' ';
      const drawn = character === '█' || character === (row % 2 === 0 ? '▀' : '▄');
      data.set([...Array<number>(3).fill(drawn ? ink : paper), 255], (y * width + x) * 4);
    }
  }
  return { width, height, data };
}

describe('the QR code', () => {
  it.each([
    ['http://192.168.1.5:8808/#'],
    ['http://10.0.0.1:80/#'],
    ['http://[fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535/#'],
  ])('a QR code of %s… can be decoded, in colours and on a dark background', (base) => {
    const url = base + secretToText(createSecret());
    expect(decodeQR(photograph(drawQr(url, true).text, 0, 255))).toBe(url);
    expect(decodeQR(photograph(drawQr(url, false).text, 255, 0))).toBe(url);
  });

  it('a QR code and its text fit a terminal of 80 columns and 24 lines', () => {
    const lines = drawQr(`http://192.168.100.200:8808/#${secretToText(createSecret())}`, false).text.split('\n');
    expect(lines.length).toBeLessThanOrEqual(20);
    expect(lines[0]?.length).toBeLessThanOrEqual(40);
  });

  it('a QR code without colours consists of block characters only', () => {
    expect(drawQr('http://192.168.1.5:8808/#x', false).text).toMatch(/^[█▀▄ \n]+$/);
  });
});
