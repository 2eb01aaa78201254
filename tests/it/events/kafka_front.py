"""A front of a Kafka broker: TLS, and SASL judged by scramp or by comparison; then everything goes to the broker behind it, and whatever the broker says of its
own port is said of the front's."""
import socket
import ssl
import struct
import threading

import scramp

API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
UNSUPPORTED_VERSION, SASL_FAILED = 35, 58


def receive(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise ConnectionError("closed")
        data += piece
    return data


def frame(stream):
    return receive(stream, struct.unpack(">i", receive(stream, 4))[0])


def send(stream, body):
    stream.sendall(struct.pack(">i", len(body)) + body)


def text(value):
    return struct.pack(">h", len(value)) + value


class Front:
    def __init__(self, broker, mechanism, user, password, certificate=None, key=None):
        host, port = broker.split(":")
        self.broker, self.mechanism, self.user, self.password = (host, int(port)), mechanism, user, password
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.refused = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
            broker = socket.create_connection(self.broker)
            if self.mechanism == "NONE" or self.sign_in(client):
                threading.Thread(target=self.back, args=(broker, client), daemon=True).start()
                while True:
                    send(broker, frame(client))
        except (OSError, ConnectionError):
            pass
        finally:
            client.close()

    def back(self, broker, client):
        here, there = (b"127.0.0.1" + struct.pack(">i", port) for port in (self.broker[1], self.port))
        try:
            while True:
                send(client, frame(broker).replace(here, there))
        except (OSError, ConnectionError):
            client.close()

    def versions(self):
        """What the broker knows, and how to sign in here."""
        with socket.create_connection(self.broker) as broker:
            send(broker, struct.pack(">hhi", API_VERSIONS, 0, 1) + text(b"front"))
            answer = frame(broker)
        count = struct.unpack(">i", answer[6:10])[0]
        more = struct.pack(">hhh", SASL_HANDSHAKE, 0, 1) + struct.pack(">hhh", SASL_AUTHENTICATE, 0, 1)
        return answer[4:6] + struct.pack(">i", count + 2) + answer[10:10 + 6 * count] + more

    def sign_in(self, client):
        server = None
        while True:
            request = frame(client)
            api, version, number = struct.unpack(">hhi", request[:8])
            length = struct.unpack(">h", request[8:10])[0]
            body = request[10 + max(length, 0):]
            head = struct.pack(">i", number)
            if api == API_VERSIONS and version == 0:
                send(client, head + self.versions())
            elif api == API_VERSIONS:
                send(client, head + struct.pack(">hi", UNSUPPORTED_VERSION, 0))
            elif api == SASL_HANDSHAKE:
                assert body[2:].decode() == self.mechanism, body
                send(client, head + struct.pack(">hi", 0, 1) + text(self.mechanism.encode()))
                if self.mechanism != "PLAIN":
                    mechanism = scramp.ScramMechanism(self.mechanism)
                    known = mechanism.make_auth_info(self.password)
                    # A name that is not known gets another password's.
                    other = mechanism.make_auth_info(self.password + "x")
                    server = mechanism.make_server(lambda name: known if name == self.user else other)
                    first = True
            elif api == SASL_AUTHENTICATE:
                said = body[4:4 + struct.unpack(">i", body[:4])[0]].decode()
                done, answer = False, ""
                try:
                    if server is None:
                        done = said == f"\0{self.user}\0{self.password}"
                        if not done:
                            raise ValueError("another login")
                    elif first:
                        server.set_client_first(said)
                        answer, first = server.get_server_first(), False
                    else:
                        server.set_client_final(said)
                        answer, done = server.get_server_final(), True
                except (scramp.ScramException, ValueError):
                    self.refused += 1
                    send(client, head + struct.pack(">h", SASL_FAILED) + text(b"refused") + struct.pack(">i", 0) + bytes(8 * (version > 0)))
                    return False
                answer = answer.encode()
                send(client, head + struct.pack(">hhi", 0, -1, len(answer)) + answer + bytes(8 * (version > 0)))
                if done:
                    return True
            else:
                return False
