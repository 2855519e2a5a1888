"""
Makes noise-xk.json: Noise XK with fixed keys, both ciphers, three handshake messages, and records on either side of a
rekey, by two independent implementations (over OpenSSL, as here) in every pairing of roles, which must agree.

    pip install noiseprotocol==0.3.1 dissononce==0.34.3 && python make.py > noise-xk.json

dissononce's own rekey() keeps 48 bytes of key and sets n to zero; sections 4.2 and 11.3 of the specification say 32 and
leave n alone. The cut is made here.
"""

import hashlib
import json
from importlib.metadata import version

from dissononce.cipher.aesgcm import AESGCMCipher
from dissononce.cipher.chachapoly import ChaChaPolyCipher
from dissononce.dh.x25519.private import PrivateKey
from dissononce.dh.x25519.x25519 import X25519DH
from dissononce.hash.sha256 import SHA256Hash
from dissononce.processing.handshakepatterns.interactive.XK import XKHandshakePattern
from dissononce.processing.impl.cipherstate import CipherState
from dissononce.processing.impl.handshakestate import HandshakeState
from dissononce.processing.impl.symmetricstate import SymmetricState
from noise.connection import Keypair, NoiseConnection

REKEY_RECORDS = 2**16
NUMBERS = [0, 1, REKEY_RECORDS - 1, REKEY_RECORDS, REKEY_RECORDS + 1]
PROLOGUE = b"wstun test prologue"
PAYLOADS = [b"", b"to a party unproven", b"safe to send"]


def secret(name):
    return hashlib.sha256(b"wstun noise vector " + name.encode()).digest()


class FixedDH(X25519DH):
    def __init__(self, ephemeral):
        super().__init__()
        self.ephemeral = ephemeral

    def generate_keypair(self, privatekey=None):
        return super().generate_keypair(privatekey or PrivateKey(self.ephemeral))


class Noiseprotocol:
    def __init__(self, suite, role, s, e, rs):
        self.c = NoiseConnection.from_name(f"Noise_XK_25519_{suite}_SHA256".encode())
        self.c.set_as_initiator() if role == "initiator" else self.c.set_as_responder()
        self.c.set_prologue(PROLOGUE)
        self.c.set_keypair_from_private_bytes(Keypair.STATIC, s)
        self.c.set_keypair_from_private_bytes(Keypair.EPHEMERAL, e)
        if rs:
            self.c.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, rs)
        self.c.start_handshake()

    def write(self, payload):
        return bytes(self.c.write_message(payload))

    def read(self, message):
        return bytes(self.c.read_message(message))

    def hash(self):
        return self.c.get_handshake_hash()

    def sending_key(self):
        return self.c.noise_protocol.cipher_state_encrypt.k

    def jump(self, n, rekeys):
        for state in (self.c.noise_protocol.cipher_state_encrypt, self.c.noise_protocol.cipher_state_decrypt):
            for _ in range(rekeys):
                state.rekey()
            state.n = n

    def seal(self, plaintext):
        return self.c.encrypt(plaintext)

    def open(self, record):
        return self.c.decrypt(record)


class Dissononce:
    def __init__(self, suite, role, s, e, rs):
        cipher = {"ChaChaPoly": ChaChaPolyCipher, "AESGCM": AESGCMCipher}[suite]()
        dh = FixedDH(e)
        self.initiator = role == "initiator"
        self.h = HandshakeState(SymmetricState(CipherState(cipher), SHA256Hash()), dh)
        pair = dh.generate_keypair(PrivateKey(s))
        self.h.initialize(XKHandshakePattern(), self.initiator, PROLOGUE, s=pair, rs=dh.create_public(rs) if rs else None)
        self.states = None

    def write(self, payload):
        buffer = bytearray()
        self.states = self.h.write_message(payload, buffer) or self.states
        return bytes(buffer)

    def read(self, message):
        buffer = bytearray()
        self.states = self.h.read_message(message, buffer) or self.states
        return bytes(buffer)

    def hash(self):
        return self.h.symmetricstate.get_handshake_hash()

    def sending_key(self):
        return self.states[0 if self.initiator else 1]._key

    def jump(self, n, rekeys):
        for state in self.states:
            for _ in range(rekeys):
                state.initialize_key(state.cipher.rekey(state._key)[:32])
            state.set_nonce(n)

    def seal(self, plaintext):
        return self.states[0 if self.initiator else 1].encrypt_with_ad(b"", plaintext)

    def open(self, record):
        return self.states[1 if self.initiator else 0].decrypt_with_ad(b"", record)


def run(suite, initiator_class, responder_class):
    keys = {name: secret(name) for name in ("initiator s", "initiator e", "responder s", "responder e")}
    pin = X25519DH().generate_keypair(PrivateKey(keys["responder s"])).public.data
    i = initiator_class(suite, "initiator", keys["initiator s"], keys["initiator e"], pin)
    r = responder_class(suite, "responder", keys["responder s"], keys["responder e"], None)
    vector = {"suite": suite, "prologue": PROLOGUE.hex(), "secrets": {k: v.hex() for k, v in keys.items()}}
    vector["messages"] = []
    for index, payload in enumerate(PAYLOADS):
        sender, receiver = (i, r) if index % 2 == 0 else (r, i)
        message = sender.write(payload)
        assert receiver.read(message) == payload
        vector["messages"].append({"payload": payload.hex(), "message": message.hex()})
    assert i.hash() == r.hash()
    vector["handshakeHash"] = i.hash().hex()
    vector["keys"] = {"initiator": i.sending_key().hex(), "responder": r.sending_key().hex()}
    vector["records"] = []
    rekeyed = 0
    for n in NUMBERS:
        for party in (i, r):
            party.jump(n, n // REKEY_RECORDS - rekeyed)
        rekeyed = n // REKEY_RECORDS
        for sender, receiver, role in ((i, r, "initiator"), (r, i, "responder")):
            plaintext = f"record {n} of the {role}".encode()
            record = sender.seal(plaintext)
            assert receiver.open(record) == plaintext
            vector["records"].append({"from": role, "n": n, "plaintext": plaintext.hex(), "record": record.hex()})
    return vector


def agreed(suite):
    both = (Noiseprotocol, Dissononce)
    vectors = [run(suite, a, b) for a in both for b in both]
    assert all(vector == vectors[0] for vector in vectors)
    return vectors[0]


made = [f"{name} {version(name)}" for name in ("noiseprotocol", "dissononce")]
print(json.dumps({"madeWith": made, "vectors": [agreed("ChaChaPoly"), agreed("AESGCM")]}, indent=2))
