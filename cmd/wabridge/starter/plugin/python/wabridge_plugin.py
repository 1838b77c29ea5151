"""The bridge's side of a wabridge plugin in Python: everything but the CRM.

What an author writes is a class with the methods of Connector, and

    serve(Acme())

Handshake, TLS, health, logs, deadlines and shutdown are here. The contract is in
connector.proto, the shape of events in https://pkg.go.dev/github.com/wabridge/wabridge/core#Event.
This file belongs to the plugin: read it, and change it if you must.

Needs grpcio, protobuf and cryptography (Debian: python3-grpcio python3-protobuf
python3-cryptography).
"""

import base64
import concurrent.futures
import datetime
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback

try:
    import grpc
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as missing:
    sys.exit(f"{sys.executable} has no {missing.name}: on Debian, sudo apt-get install python3-grpcio python3-protobuf python3-cryptography,"
             " which are for /usr/bin/python3")

MAX_MESSAGE = 8 << 20
MAX_CALLS = 16  # at once; more wait
DRAIN = 30  # seconds for the calls under way when somebody stops the plugin

log = logging.getLogger("plugin")


class Failure(Exception):
    """Why something did not work. The code says what the bridge does next:

    invalid          this event can never be delivered: a dead letter, at once
    undeliverable    the person cannot be reached
    rate_limited     too fast: again after retry_after seconds
    unavailable      it did not happen, and may work later
    unknown_outcome  it may have happened
    unauthenticated  the credentials are refused: the lane waits for new ones
    forbidden        they are good, but not for this
    internal         a bug

    message is one line without secrets and phone numbers; hint says what a person
    can do, naming the setting to change; vendor is the CRM's own code.
    """

    def __init__(self, code, message, *, op="", hint="", vendor="", retry_after=0.0, scope="", source="plugin"):
        super().__init__(message)
        self.code, self.message, self.op, self.hint = code, message, op, hint
        self.vendor, self.retry_after, self.scope, self.source = vendor, retry_after, scope, source


class Written:
    """What write may return: what the CRM calls what was written, the contact's record, and
    the message. The bridge brings the last two with what comes later: event["contact_ref"]
    and event["message_ref"]. event["told_ref"] is the record that the CRM told of, while no
    contact_ref is known; see docs/plugins."""

    def __init__(self, ref, contact_ref="", message_ref=""):
        self.ref, self.contact_ref, self.message_ref = ref, contact_ref, message_ref


class Account:
    """One tenant's account at the CRM. It comes with every call: keep nothing."""

    def __init__(self, wire, context):
        self.tenant, self.lane = wire.tenant, wire.lane
        self.settings = json.loads(wire.settings) if wire.settings else {}
        self.secrets = dict(wire.secrets)
        self.properties, self.webhook_url = list(wire.properties), wire.webhook_url
        self.token = None  # what authorize last returned
        if wire.HasField("token"):
            t = wire.token
            self.token = {"secrets": dict(t.secrets), "values": dict(t.values), "expires": t.expires_ms / 1000}
        self._context = context
        self._spent, self._left, self._lock = {}, {}, threading.Lock()

    def spend(self, budget, calls=1):
        """Say that calls were made, of one of the connector's budgets."""
        with self._lock:
            self._spent[budget] = self._spent.get(budget, 0) + calls

    def left(self, budget, calls):
        """Say how many calls are left in a budget's longest window, where the CRM says so."""
        with self._lock:
            self._left[budget] = calls

    def meter(self):
        with self._lock:
            return {"spent": dict(self._spent), "left": dict(self._left)}

    def seconds_left(self):
        """How long this call may still take: the timeout of what it asks the CRM."""
        left = self._context.time_remaining()
        return 60.0 if left is None else max(0.05, left - min(0.5, left / 10))

    def given_up(self):
        """Whether nobody waits for this call any more."""
        return not self._context.is_active()


class Connector:
    """What a plugin is. Methods are called from several threads at once."""

    name = ""  # a-z, 0-9 and -
    version = "0.0.0"
    max_batch = 100  # events in one call, 1 to 1000
    # What an event that comes twice does: "upsert" (writes are keyed by an id of
    # ours), "key" (the CRM drops a repeated key), "search" (write looks for what is there
    # before it makes it), "none" (twice is twice).
    idempotency = "none"
    search_delay = 0.0  # seconds until a search sees what was made, for "search"; 0: 30
    kinds = ()  # of events; empty: all that a CRM gets
    calls_per_second = 0.0  # 0: no limit
    budgets = ()  # (name, calls, seconds): what the CRM bears; account.spend says what was made
    secrets = ()  # names of the secrets that an account must have
    settings = None  # names of the settings that there are: others are refused, before check; None: check looks itself

    def check(self, account):
        """Prove that the account's settings and secrets work, or raise Failure."""

    def write(self, account, event):
        """Write one event, a dict, and return what the CRM calls it (or Written), or raise Failure."""
        raise NotImplementedError

    def deliver(self, account, events):
        """Write a batch: returns by event id what write returns, or a Failure.

        Instead of write, for CRMs that take many at once."""
        results = {}
        for event in events:
            if account.given_up():
                break
            try:
                results[event["id"]] = self.write(account, event)
            except Failure as failure:
                results[event["id"]] = failure
            except Exception as error:  # a bug, of this event
                results[event["id"]] = self._bug("write", error)
        return results

    # Optional; a connector that has them is asked. See connector.proto.
    authorize = None  # (account) -> {"secrets": {}, "values": {}, "expires": seconds since 1970}
    poll = None  # (account, cursor) -> (events, cursor, more)
    webhook = None  # (account, request) -> (events, status, content_type, body)
    describe = None  # (account) -> what core.Schema is as JSON
    # Both or none, for the segments that campaigns are sent to.
    segments = None  # (account, name) -> [{"id": "", "name": "", "kind": "", "size": 0}]
    members = None  # (account, segment, cursor) -> ([{"contact_ref": "", "contact": {"name": "", "phone": "", "bsuid": ""}}], cursor, more)

    def _check(self, account):
        unknown = [name for name in account.settings if self.settings is not None and name not in self.settings]
        if unknown:
            raise Failure("invalid", f"there is no setting {unknown[0]}", op="settings", hint="there are: " + ", ".join(self.settings))
        self.check(account)

    def _bug(self, where, error):
        # The text of an error can hold anything, secrets too: only its kind and
        # place are told.
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "unknown place"
        code = "internal" if self.idempotency in ("upsert", "key") else "unknown_outcome"
        failure = Failure(code, f"{type(error).__name__} in {where} at {place}", op="plugin", vendor="exception")
        log.error("%s", failure.message)
        return failure


def serve(connector):
    """Run the connector as a plugin. It is all that a plugin's main does, and never returns."""
    attach = os.environ.get("WABRIDGE_PLUGIN_ATTACH")
    if attach:
        _wait_for_bridge(attach)
    if os.environ.get("WABRIDGE_PLUGIN") != "connector":
        sys.exit(f"{sys.argv[0]}: this is a plugin of wabridge (connector \"{connector.name}\"): the bridge starts it, it does nothing by itself.")
    if "1" not in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "1").split(","):
        sys.exit("this plugin speaks version 1 of the contract, the bridge does not")
    # Standard output is for the handshake alone: whatever else is printed is logged.
    handshake = os.fdopen(os.dup(1), "w")
    if os.environ.get("WABRIDGE_PLUGIN_HANDSHAKE"):
        handshake = open(os.environ["WABRIDGE_PLUGIN_HANDSHAKE"], "w")
    os.dup2(2, 1)
    _log_to_stderr()
    threading.stack_size(1 << 20)  # a plugin has 512 MiB, stacks included

    service = _Service(connector)
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=MAX_CALLS)
    server = grpc.server(pool, handlers=[service], options=[
        ("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE),
    ])
    key, certificate, der = _certificate()
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=os.environ["PLUGIN_CLIENT_CERT"].encode(), require_client_auth=True)
    socket = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "plugin.sock")
    server.add_secure_port("unix:" + socket, credentials)
    server.start()

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    watch, what = (_exit_with_folder, os.path.dirname(socket)) if attach else (_exit_with_parent, os.getppid())
    threading.Thread(target=watch, args=(what,), daemon=True).start()
    handshake.write(f"1|1|unix|{socket}|grpc|{base64.b64encode(der).decode().rstrip('=')}\n")
    handshake.close()

    stopping.wait()
    service.close(DRAIN)
    server.stop(0.2).wait()
    os._exit(0)


def _exit_with_parent(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _exit_with_folder(folder):
    while os.path.isdir(folder):
        time.sleep(1)
    os._exit(1)


def _wait_for_bridge(path):
    """For a debugger: the environment that the bridge would give is in a file."""
    print(f"waiting for a bridge with attach = {path!r}", file=sys.stderr)
    while True:
        try:
            with open(path) as f:
                environment = json.load(f)
        except (OSError, ValueError):
            environment = {}
        if os.path.isdir(environment.get("PLUGIN_UNIX_SOCKET_DIR", "")):  # else it is an old one
            os.environ.update(environment)
            return
        time.sleep(0.2)


class _Lines(logging.Handler):
    """Log records as the bridge reads them: a JSON object a line, on standard error."""

    levels = {"WARNING": "WARN", "CRITICAL": "ERROR"}

    def emit(self, record):
        line = {"level": self.levels.get(record.levelname, record.levelname), "msg": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()


def _log_to_stderr():
    logging.basicConfig(level=logging.INFO, handlers=[_Lines()], force=True)


def _certificate():
    """A certificate of this process's own: key and certificate in PEM, and the latter in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=10000))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256()))
    return (
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate.public_bytes(serialization.Encoding.PEM), certificate.public_bytes(serialization.Encoding.DER))


def _messages():
    """The messages of connector.proto by name. They are made from its compiled form, so
    that no generated code has to fit the protobuf of the machine."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "connector.binpb"), "rb") as f:
        file = descriptor_pb2.FileDescriptorProto.FromString(f.read())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return {m.name: make(pool.FindMessageTypeByName(f"{file.package}.{m.name}")) for m in file.message_type}


class _Service(grpc.GenericRpcHandler):
    """The contract's calls, and the standard health check, in front of a connector."""

    def __init__(self, connector):
        self.connector, self.wire = connector, _messages()
        self.lock, self.calls, self.closed = threading.Condition(), 0, False
        self.handlers = {"/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")}
        for name in ("Info", "Check", "Deliver", "Authorize", "Poll", "Webhook", "Describe", "Segments", "Members"):
            request, response = self.wire[name + "Request"], self.wire[name + "Response"]
            self.handlers["/wabridge.plugin.v1.Connector/" + name] = grpc.unary_unary_rpc_method_handler(
                self._gated(getattr(self, "_" + name.lower())), request.FromString, response.SerializeToString)

    def service(self, details):
        return self.handlers.get(details.method)

    def close(self, patience):
        """Take no more calls, and wait for those under way."""
        with self.lock:
            self.closed = True
            self.lock.wait_for(lambda: self.calls == 0, patience)

    def _gated(self, call):
        def gated(request, context):
            with self.lock:
                if self.closed:
                    context.abort(grpc.StatusCode.ABORTED, "the plugin is stopping")
                self.calls += 1
            try:
                return call(request, context)
            finally:
                with self.lock:
                    self.calls -= 1
                    self.lock.notify_all()
        return gated

    def _info(self, request, context):
        c = self.connector
        return self.wire["InfoResponse"](
            name=c.name, version=c.version, max_batch=c.max_batch, idempotency=c.idempotency, kinds=c.kinds,
            calls_per_second=c.calls_per_second, secrets=c.secrets, search_delay_ms=int(c.search_delay * 1000),
            budgets=[{"name": name, "calls": calls, "per_ms": int(seconds * 1000)} for name, calls, seconds in c.budgets],
            authorizes=c.authorize is not None, polls=c.poll is not None, receives=c.webhook is not None,
            describes=c.describe is not None, segments=c.segments is not None and c.members is not None)

    def _check(self, request, context):
        return self._asked("check", request, context, self.connector._check, lambda _: self.wire["CheckResponse"]())

    def _authorize(self, request, context):
        def answer(token):
            return self.wire["AuthorizeResponse"](token=self.wire["Token"](
                secrets=token.get("secrets"), values=token.get("values"), expires_ms=int(token.get("expires", 0) * 1000)))
        return self._asked("authorize", request, context, self.connector.authorize, answer)

    def _poll(self, request, context):
        def answer(told):
            events, cursor, more = told
            return self.wire["PollResponse"](events=[json.dumps(e).encode() for e in events], cursor=json.dumps(cursor).encode(), more=more)
        cursor = json.loads(request.cursor) if request.cursor else None
        return self._asked("poll", request, context, self.connector.poll, answer, cursor)

    def _webhook(self, request, context):
        def answer(told):
            events, status, content_type, body = told
            return self.wire["WebhookResponse"](events=[json.dumps(e).encode() for e in events], status=status, content_type=content_type, body=body)
        asked = {"method": request.method, "url": request.url, "remote": request.remote,
                 "headers": [(h.name, h.value) for h in request.header], "body": request.body}
        return self._asked("webhook", request, context, self.connector.webhook, answer, asked)

    def _describe(self, request, context):
        def answer(schema):
            return self.wire["DescribeResponse"](schema=json.dumps(schema).encode())
        return self._asked("describe", request, context, self.connector.describe, answer)

    def _segments(self, request, context):
        def answer(found):
            return self.wire["SegmentsResponse"](segments=[json.dumps(s).encode() for s in found])
        return self._asked("segments", request, context, self.connector.segments, answer, request.name)

    def _members(self, request, context):
        def answer(told):
            members, cursor, more = told
            return self.wire["MembersResponse"](members=[json.dumps(m).encode() for m in members], cursor=json.dumps(cursor).encode(), more=more)
        cursor = json.loads(request.cursor) if request.cursor else None
        return self._asked("members", request, context, self.connector.members, answer, request.segment, cursor)

    def _asked(self, name, request, context, method, answer, *more):
        if method is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the connector has no {name}")
        account = Account(request.account, context)
        try:
            response = answer(method(account, *more))
        except Failure as failure:
            response = self.wire[name.capitalize() + "Response"](error=self._error(failure))
        except Exception as bug:
            error = self.connector._bug(name, bug)
            error.code = "internal"
            response = self.wire[name.capitalize() + "Response"](error=self._error(error))
        if "meter" in response.DESCRIPTOR.fields_by_name:
            response.MergeFrom(type(response)(meter=account.meter()))
        return response

    def _deliver(self, request, context):
        events, results = [], {}
        for d in request.deliveries:
            event = json.loads(d.event)
            event["attempt"] = d.attempt
            for name in ("contact_ref", "told_ref", "message_ref"):
                if getattr(d, name):
                    event[name] = getattr(d, name)
            events.append(event)
        account = Account(request.account, context)
        try:
            results = self.connector.deliver(account, events) if events else {}
        except Failure as failure:
            results = {e["id"]: failure for e in events}
        except Exception as bug:
            failure = self.connector._bug("deliver", bug)
            results = {e["id"]: failure for e in events}
        response = self.wire["DeliverResponse"](meter=account.meter())
        for id, result in results.items():
            if isinstance(result, Failure):
                response.results.add(id=id, error=self._error(result))
            else:
                w = result if isinstance(result, Written) else Written(result)
                response.results.add(id=id, **{k: str(v or "")[:512] for k, v in vars(w).items()})
        return response

    def _error(self, failure):
        return self.wire["Error"](
            code=failure.code, op=failure.op, message=failure.message[:1024], hint=failure.hint, source=failure.source,
            vendor=failure.vendor, retry_after_ms=int(failure.retry_after * 1000), scope=failure.scope)
