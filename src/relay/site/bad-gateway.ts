/** The answer where the upstream of a site cannot be reached: that of nginx, byte for byte. Pure. */

const PAGE = [
  '<html>',
  '<head><title>502 Bad Gateway</title></head>',
  '<body>',
  '<center><h1>502 Bad Gateway</h1></center>',
  '<hr><center>nginx</center>',
  '</body>',
  '</html>',
  '',
].join('\r\n');

/** It ends the connection. @param request its first bytes @param date as of Date's toUTCString */
export function badGateway(request: Buffer, date: string): string {
  const head = [
    'HTTP/1.1 502 Bad Gateway',
    'Server: nginx',
    `Date: ${date}`,
    'Content-Type: text/html',
    `Content-Length: ${PAGE.length}`,
    'Connection: close',
  ];
  const isHead = request.toString('latin1', 0, 5) === 'HEAD ';
  return `${head.join('\r\n')}\r\n\r\n${isHead ? '' : PAGE}`;
}
