/** The subjects and buckets of a cluster, and how a name of the access list stands in them. Pure. */

/** Buckets of a cluster of that name. */
export const accessBucket = (cluster: string): string => `${cluster}-access`;
export const exitsBucket = (cluster: string): string => `${cluster}-exits`;
export const usageBucket = (cluster: string): string => `${cluster}-usage`;
export const retiredBucket = (cluster: string): string => `${cluster}-retired`;
export const ticketsBucket = (cluster: string): string => `${cluster}-tickets`;

/** Relays that have the control link of that exit say here that they do. */
export const exitSubject = (cluster: string, exit: string): string => `${cluster}.exit.${keyOfName(exit)}`;
/** One relay is asked here to call an exit. */
export const callsSubject = (cluster: string, node: string): string => `${cluster}.calls.${node}`;
/** Each relay says here that it is there. */
export const relaysSubject = (cluster: string): string => `${cluster}.relays`;
/** Each relay answers here what it does. */
export const statusSubject = (cluster: string): string => `${cluster}.status`;

/** Dots separate the parts of a subject, and no part may be empty. A name has no `=`, which a key may have. */
export function keyOfName(name: string): string {
  return name.replaceAll('.', '=');
}

export function nameOfKey(key: string): string {
  return key.replaceAll('=', '.');
}
