"""Runs one deployment hook inside its code env. Python 3.9 or later, nothing but the standard library.

Standard input is a socket to the supervisor. The runner moves it to a descriptor that no program started by the hook inherits, puts
/dev/null in its place, says that it is ready, and is given the call: the hook's code, its arguments, the clients' addresses and keys.
The hook's result goes back over that socket. So nothing that the hook or its children print can pass for a result. The call's nonce must
come with each answer and is kept in a closure; code that digs through this interpreter's closures can find it, but that code could as
well return the result it wants: hook and runner are one process and trust each other.

Every answer is one JSON object: {"nonce", "kind", ...}; see `said.rs` for the kinds.
"""

import atexit
import fcntl
import inspect
import json
import linecache
import os
import struct
import sys
import threading
import traceback
import types

MESSAGE_CHARACTERS = 16 * 1024
TRACEBACK_CHARACTERS = 64 * 1024


class HookResult:
    """What a hook returns: HookResult.success(message), .warning(message) or .error(message)."""

    def __init__(self, status, message):
        self.status = status
        self.message = message

    @classmethod
    def success(cls, message=""):
        return cls("success", message)

    @classmethod
    def warning(cls, message=""):
        return cls("warning", message)

    @classmethod
    def error(cls, message=""):
        return cls("error", message)

    def __repr__(self):
        return "HookResult.%s(%r)" % (self.status, self.message)


class ClientUnavailable(RuntimeError):
    """A client that this hook was given can't be used; the message says why and what to do."""


class UnavailableClient:
    """Stands for a client that can't be had: any use of it raises ClientUnavailable."""

    def __init__(self, name, why):
        self.__dict__["_UnavailableClient__name"] = name
        self.__dict__["_UnavailableClient__why"] = why

    def _raise(self, use):
        raise ClientUnavailable("%s%s: %s" % (self.__name, use, self.__why))

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        self._raise("." + name)

    def __setattr__(self, name, value):
        self._raise("." + name)

    def __call__(self, *args, **kwargs):
        self._raise("()")

    def __bool__(self):
        self._raise("")

    def __iter__(self):
        self._raise("")

    def __len__(self):
        self._raise("")

    def __getitem__(self, key):
        self._raise("[...]")

    def __enter__(self):
        self._raise("")

    def __exit__(self, *exc):
        return False

    def __repr__(self):
        return "<%s: not available>" % self.__name


def clean(value, limit):
    """Text that JSON and UTF-8 can carry, cut to `limit` characters."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception as error:  # a __str__ of the hook's own
        text = "<no text: %s>" % type(error).__name__
    if len(text) > limit:
        text = text[:limit] + " [cut]"
    return text.encode("utf-8", "replace").decode("utf-8")


def close_inherited():
    """Closes what whoever started the worker left open in it, and so in all that it starts."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                pass  # the listing's own


def take_channel():
    """Moves the socket from standard input to a high descriptor that is closed on exec."""
    close_inherited()
    channel = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 64)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    if null != 0:
        os.close(null)
    return channel


def read_exactly(channel, count):
    parts = []
    while count:
        part = os.read(channel, min(count, 1 << 20))
        if not part:
            raise SystemExit(70)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def send(channel, value):
    body = json.dumps(value).encode("ascii")
    data = struct.pack(">I", len(body)) + body
    while data:
        data = data[os.write(channel, data):]


def make_speaker(channel, nonce):
    """A function that sends one answer. A child that the hook forked, and that came back here, has nothing to say."""
    owner = os.getpid()
    lock = threading.Lock()

    def say(**answer):
        if os.getpid() == owner:
            with lock:
                send(channel, dict(answer, nonce=nonce))

    def is_owner():
        return os.getpid() == owner

    return say, is_owner


def make_client(name, access, code_env):
    """A real dataikuapi.DSSClient, or an object that says at its first use why there is none."""
    if access is None:
        return UnavailableClient(name, "no such client is available to this hook: Slipway was given no address and key for it")
    if "why" in access:
        return UnavailableClient(name, access["why"])
    try:
        import dataikuapi
    except ImportError as error:
        if error.name == "dataikuapi":
            mend = "install the package dataiku-api-client there"
        elif isinstance(error, ModuleNotFoundError):
            mend = "it is installed, but the module %s that it needs is not: install that there" % error.name
        else:
            mend = "it is installed, but something that it needs is not as it should be"
        return UnavailableClient(name, "the code env %r can't import dataikuapi (%s): %s" % (code_env, error, mend))
    except Exception as error:
        return UnavailableClient(
            name,
            "the code env %r has a dataikuapi that can't be imported (%s: %s)" % (code_env, type(error).__name__, error),
        )
    client = dataikuapi.DSSClient(access["url"], access["key"])
    if access["no_check_certificate"]:
        client._session.verify = False
    return client


def accepted(function, arguments):
    """Those arguments that the function takes by keyword; all of them if it takes any."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return arguments
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return arguments
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {name: value for name, value in arguments.items() if name in names}


def class_name(kind):
    if kind.__module__ in ("builtins", "slipway_hook", "__main__"):
        return kind.__qualname__
    return "%s.%s" % (kind.__module__, kind.__qualname__)


def describe(error, filename):
    """The traceback from the hook's first line on, without the runner's own frames."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != filename:
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception as broken:  # an exception whose __str__ or __cause__ is broken
        return "<no traceback: %s>" % type(broken).__name__


def prepare(call, filename):
    """Compiles the hook. Returns (code, None), or (None, answer)."""
    source = call["code"]
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    try:
        return compile(source, filename, "exec", dont_inherit=True), None
    except Exception as error:
        text = "%s: %s" % (class_name(type(error)), error)
        lines = "".join(traceback.format_exception_only(type(error), error))
        return None, {
            "kind": "compile_error",
            "message": clean(text, MESSAGE_CHARACTERS),
            "traceback": clean(lines, TRACEBACK_CHARACTERS),
        }


def execute(code, call, filename):
    """Runs the hook's code and its function. Returns the answer; SystemExit goes through."""
    module = types.ModuleType("slipway_hook")
    module.__file__ = filename
    module.HookResult = HookResult
    sys.modules["slipway_hook"] = module
    try:
        exec(code, module.__dict__)
        function = getattr(module, "execute", None)
        if not callable(function):
            return {"kind": "no_execute"}
        arguments = dict(call["arguments"])
        for name in ("automation_client", "deployer_client"):
            arguments[name] = make_client(name, call[name], call["code_env"])
        nodes = call["automation_nodes"]
        if nodes:
            arguments["automation_nodes"] = {
                node: make_client("automation_nodes[%r]" % node, access, call["code_env"]) for node, access in nodes.items()
            }
        result = function(**accepted(function, arguments))
    except SystemExit:
        raise
    except BaseException as error:
        return {
            "kind": "raised",
            "class": clean(class_name(type(error)), 200),
            "message": clean(error, MESSAGE_CHARACTERS),
            "traceback": clean(describe(error, filename), TRACEBACK_CHARACTERS),
        }
    if result is None:
        return {"kind": "nothing"}
    if not isinstance(result, HookResult) or result.status not in ("success", "warning", "error"):
        return {"kind": "bad_result", "type": clean(class_name(type(result)), 200)}
    return {"kind": "result", "status": result.status, "message": clean(result.message, MESSAGE_CHARACTERS)}


def exit_code(error):
    """What Python itself makes of SystemExit's argument."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(clean(error.code, MESSAGE_CHARACTERS), file=sys.stderr)
    return 1


def main():
    channel = take_channel()
    send(channel, {"ready": list(sys.version_info[:3])})
    call = json.loads(read_exactly(channel, struct.unpack(">I", read_exactly(channel, 4))[0]))
    say, is_owner = make_speaker(channel, call.pop("nonce"))
    filename = "<hook %s>" % call["name"]
    sys.argv = ["hook"]

    def thread_failed(failure):
        if failure.exc_type is not SystemExit and failure.exc_value is not None:
            say(kind="thread", traceback=clean(describe(failure.exc_value, filename), TRACEBACK_CHARACTERS))

    # Tracebacks may print source: they go where only infrastructure admins look, not to standard error.
    threading.excepthook = thread_failed

    code, answer = prepare(call, filename)
    status = 0
    if answer is None:
        try:
            answer = execute(code, call, filename)
        except SystemExit as error:
            status = exit_code(error)
    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass  # printed already; the hook has its result
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # closed by the hook, or nobody reads any more
    if answer is not None and is_owner():
        say(**answer)
    # The hook is over: threads that it left running end here.
    os._exit(status)


main()
