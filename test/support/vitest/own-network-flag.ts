/** The variable of the environment that is set where a test file has a network to itself (own-network.ts). */
export const OWN_NETWORK = 'WSTUN_OWN_NETWORK';
