# The two sides of a function test: "program" runs the program and serves what the
# tests ask of it, "tests" runs the tests. They talk through the judge, which lets
# nothing but data through (wire.go is the specification). The program's side is in
# the program's hands; the tests' side must stand anything it may send.
import sys, os, builtins

MOST = 16 << 20
DEEP = 100


class Wire:
    """Frames: 4 bytes of length, a kind, a value."""

    def __init__(self):
        self.r, self.w = os.dup(0), os.dup(1)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)  # what a program prints is no answer

    def exactly(self, n):
        parts = []
        while n:
            part = os.read(self.r, min(n, 1 << 20))
            if not part:
                os._exit(0)  # the judge is gone
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    def receive(self):
        frame = self.exactly(int.from_bytes(self.exactly(4), "little"))
        return frame[:1], frame[1:]

    def send(self, kind, body):
        if len(body) > MOST:
            raise ValueError("a value of %d bytes is too large" % len(body))
        frame = memoryview((len(body) + 1).to_bytes(4, "little") + kind + body)
        while frame:
            frame = frame[os.write(self.w, frame):]


def count(n):
    return n.to_bytes(4, "little")


def encode(out, v, handle, plain=(), depth=0):
    """Appends the encoding of v; what is not data goes through handle(v). plain are
    kinds of dict that are sent as a dict."""
    t = type(v)
    if depth > DEEP:
        raise ValueError("a value is nested too deeply")
    if v is None:
        out.append(b"N")
    elif v is True:
        out.append(b"T")
    elif v is False:
        out.append(b"F")
    elif t is int:
        b = v.to_bytes(v.bit_length() // 8 + 1, "little", signed=True)
        out.append(b"i" + count(len(b)) + b)
    elif t is float:
        out.append(b"f" + v.hex().encode().ljust(32))
    elif t is complex:
        out.append(b"c" + v.real.hex().encode().ljust(32) + v.imag.hex().encode().ljust(32))
    elif t is str:
        b = v.encode("utf-8", "surrogatepass")
        out.append(b"s" + count(len(b)) + b)
    elif t is bytes:
        out.append(b"b" + count(len(v)) + v)
    elif t is list or t is tuple or t is set or t is frozenset:
        out.append((b"l" if t is list else b"t" if t is tuple else b"S" if t is set else b"Z") + count(len(v)))
        for x in v:
            encode(out, x, handle, plain, depth + 1)
    elif t is dict or t in plain:
        out.append(b"d" + count(len(v)))
        for k, x in v.items():
            encode(out, k, handle, plain, depth + 1)
            encode(out, x, handle, plain, depth + 1)
    else:
        out.append(handle(v))


def encoded(v, handle, plain=()):
    out = []
    encode(out, v, handle, plain)
    return b"".join(out)


def decode(b, at, handle):
    """Returns the value at b[at:] and where it ends. The judge has checked b."""
    k = b[at:at + 1]
    at += 1
    if k == b"N":
        return None, at
    if k == b"T":
        return True, at
    if k == b"F":
        return False, at
    if k == b"f":
        return float.fromhex(b[at:at + 32].decode().strip()), at + 32
    if k == b"c":
        return complex(float.fromhex(b[at:at + 32].decode().strip()), float.fromhex(b[at + 32:at + 64].decode().strip())), at + 64
    if k == b"h" or k == b"x":
        return handle(k, int.from_bytes(b[at:at + 8], "little")), at + 8
    n = int.from_bytes(b[at:at + 4], "little")
    at += 4
    if k == b"i":
        return int.from_bytes(b[at:at + n], "little", signed=True), at + n
    if k == b"s":
        return b[at:at + n].decode("utf-8", "surrogatepass"), at + n
    if k == b"b":
        return b[at:at + n], at + n
    if k == b"n":
        return handle(k, b[at:at + n].decode()), at + n
    if k == b"d":
        d = {}
        for _ in range(n):
            key, at = decode(b, at, handle)
            d[key], at = decode(b, at, handle)
        return d, at
    items = []
    for _ in range(n):
        x, at = decode(b, at, handle)
        items.append(x)
    if k == b"l":
        return items, at
    return (tuple if k == b"t" else set if k == b"S" else frozenset)(items), at


def reference(kind, n):
    return kind + n.to_bytes(8, "little")


def described(e):
    """An exception as data: the name of its type and its text."""
    try:
        text = str(e)[:2000]
    except BaseException:
        text = ""
    return (type.__getattribute__(type(e), "__name__"), text)


def program():
    wire = Wire()
    things, numbers = [], {}

    def give(v):  # a thing of ours, for the tests to name
        if type(v) is Callback:
            return reference(b"x", v.number)
        n = numbers.get(id(v))
        if n is None:
            n = numbers[id(v)] = len(things)
            things.append(v)
        return reference(b"h", n)

    def take(kind, n):
        if kind == b"n":
            return getattr(builtins, n)
        return things[n] if kind == b"h" else Callback(n)

    def dicts():  # of the standard library; a counter equals the dict of its counts
        c = sys.modules.get("collections")
        return (c.Counter, c.OrderedDict, c.defaultdict) if c else ()

    class Callback:  # a function of the tests
        def __init__(self, number):
            self.number = number

        def __call__(self, *args, **kwargs):
            wire.send(b"B", encoded((self.number, list(args), kwargs), give))
            kind, v = serve()
            if kind == b"V":
                return v
            raise getattr(builtins, v[0], RuntimeError)(v[1])

    def serve():
        """Answers requests until the answer to our own one comes."""
        while True:
            kind, body = wire.receive()
            v, _ = decode(body, 0, take)
            if kind == b"V" or kind == b"E":
                return kind, v
            try:
                if kind == b"N":
                    if v not in space:
                        wire.send(b"M", b"N")
                        continue
                    out = space[v]
                elif kind == b"C":
                    out = v[0](*v[1], **v[2])
                elif kind == b"G":
                    out = getattr(v[0], v[1])
                elif kind == b"S":
                    out = setattr(v[0], v[1], v[2])
                elif kind == b"I":
                    out = iter(v)
                    wire.send(b"V", give(out))
                    continue
                else:
                    try:
                        out = next(v)
                    except StopIteration:
                        wire.send(b"Z", b"N")
                        continue
                answer = encoded(out, give, dicts())
            except BaseException as e:
                wire.send(b"E", encoded(described(e), give))
                continue
            if len(answer) > MOST:
                wire.send(b"E", encoded(("ValueError", "the value is too large"), give))
            else:
                wire.send(b"V", answer)

    _, body = wire.receive()
    source, _ = decode(body, 0, take)
    module = type(sys)("solution")
    sys.modules["solution"] = module
    space = module.__dict__
    try:
        exec(compile(source, "solution.py", "exec", 0, True), space)
    except BaseException as e:
        wire.send(b"E", encoded(described(e), give))
    else:
        wire.send(b"V", b"N")
    serve()


def tests():
    """Runs each job's tests in a process of its own: what a program's values do to
    one does not reach the next."""
    wire = Wire()
    while True:
        _, body = wire.receive()
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            judge(wire, body)
        _, status = os.waitpid(pid, 0)
        try:
            os.killpg(pid, 9)
        except OSError:
            pass
        wire.send(b"D", encoded("signal %d" % (status & 127) if status & 127 else "exit status %d" % (status >> 8), None))


def judge(wire, body):
    functions = []  # of the tests, that were given to the program
    proxies = {}

    class ProgramError(Exception):
        """What the program raised, if it is no ordinary exception of Python's own."""

    def ordinary(name):
        e = getattr(builtins, name, None)
        if isinstance(e, type) and issubclass(e, Exception) and not issubclass(e, (StopIteration, StopAsyncIteration)):
            return e
        return ProgramError

    def give(v):
        if type(v) is Proxy:
            return reference(b"h", number_of(v))
        if type(v) is type(give) or type(v) is type(len) or type(v) is type([].append) or isinstance(v, type):
            name = getattr(v, "__name__", "")
            if type(name) is str and getattr(builtins, name, None) is v:
                return b"n" + count(len(name)) + name.encode()
            functions.append(v)
            return reference(b"x", len(functions) - 1)
        raise TypeError("the tests cannot pass a %s to the program" % type(v).__name__)

    def take(kind, n):
        if kind == b"x":
            return functions[n]
        p = proxies.get(n)
        if p is None:
            p = proxies[n] = Proxy(n)
        return p

    def ask(kind, v):
        """Sends a request and returns the answer's kind and value; functions of the
        tests that the program calls meanwhile are called here."""
        wire.send(kind, encoded(v, give))
        while True:
            kind, body = wire.receive()
            v, _ = decode(body, 0, take)
            if kind == b"E":
                raise make(v)
            if kind != b"B":
                return kind, v
            try:
                answer = b"V", encoded(functions[v[0]](*v[1], **v[2]), give)
            except Exception as e:
                answer = b"E", encoded(described(e), give)
            wire.send(*answer)

    def make(v):
        kind = ordinary(v[0])
        if kind is ProgramError:
            return kind("%s: %s" % v)
        try:
            return kind(v[1])
        except Exception:
            return ProgramError("%s: %s" % v)  # UnicodeDecodeError wants more

    number = {}
    iterated = set()

    def number_of(p):
        return number[id(p)]

    class Proxy:
        """Something of the program that is no data. It can be called, its attributes
        read and set, and it can be iterated once; it equals itself only, and no
        operator reaches the program."""

        __slots__ = ()

        def __new__(cls, n):
            p = object.__new__(cls)
            number[id(p)] = n
            return p

        def __call__(self, *args, **kwargs):
            return ask(b"C", (self, list(args), kwargs))[1]

        def __getattr__(self, name):
            if name[:2] == "__":
                raise AttributeError(name)
            return ask(b"G", (self, name))[1]

        def __setattr__(self, name, v):
            ask(b"S", (self, name, v))

        def __iter__(self):
            if id(self) in iterated:
                raise TypeError("an object of the program was iterated twice: it may have changed in between")
            iterated.add(id(self))
            return ask(b"I", self)[1]

        def __next__(self):
            kind, v = ask(b"X", self)
            if kind == b"Z":
                raise StopIteration
            return v

        def __repr__(self):
            return "<object %d of the program>" % number_of(self)

    (setup, chunks, entry, every), _ = decode(body, 0, take)

    def broken(text):
        wire.send(b"K", encoded(text, give))
        os._exit(0)

    # What the tests use and do not define comes from the program, and nothing else:
    # a builtin or a module of the standard library is the real one.
    loads, binds, calls = set(), set(), set()

    def walk(node):
        for f in node._fields:
            v = getattr(node, f, None)
            for x in v if type(v) is list else (v,):
                if hasattr(x, "_fields"):
                    walk(x)
        name = type(node).__name__
        if name == "Name":
            (loads if type(node.ctx).__name__ == "Load" else binds).add(node.id)
        elif name == "Call" and type(node.func).__name__ == "Name":
            calls.add(node.func.id)
        elif name in ("FunctionDef", "AsyncFunctionDef", "ClassDef"):
            binds.add(node.name)
        elif name == "arg":
            binds.add(node.arg)
        elif name == "alias":
            binds.add((node.asname or node.name).split(".")[0])
        elif name == "ExceptHandler" and node.name:
            binds.add(node.name)

    codes = []
    try:
        for i, text in enumerate([setup] + chunks):
            name = "setup" if i == 0 else "tests"
            tree = compile(text, name, "exec", 0x400, True)  # PyCF_ONLY_AST
            walk(tree)
            codes.append(compile(text, name, "exec", 0, True))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        broken("%s: %s" % (type(e).__name__, e))
    space = {"__name__": "tests", "__builtins__": builtins}
    modules = getattr(sys, "stdlib_module_names", frozenset(sys.builtin_module_names))
    missing = []
    for name in sorted(loads - binds):
        if name == entry or name in space or hasattr(builtins, name):
            continue
        if name in modules and name not in calls:
            space[name] = __import__(name)
        else:
            missing.append(name)
    if entry:
        # "check" calls what it is given; asserts call the program by its name.
        if missing:
            broken("the tests use %s, which they do not define; with an entry point nothing else is taken from the program" % ", ".join(missing))
        missing = [entry]
    for name in missing:
        kind, v = ask(b"N", name)
        if kind == b"V":
            space[name] = v
    if entry and entry not in space:
        wire.send(b"R", encoded(([], "the program does not define %s" % entry), give))
        os._exit(0)
    candidate = space.get(entry)
    passed, why = [], ""
    for i, code in enumerate(codes):
        try:
            exec(code, space)
            if i == 0 and entry:
                space[entry] = candidate  # whatever the setup made of the name
            if i == len(codes) - 1 and entry and callable(space.get("check")) and "check" in binds:
                space["check"](candidate)
        except BaseException as e:
            line = 0
            t = e.__traceback__
            while t is not None:
                if t.tb_frame.f_code.co_filename in ("setup", "tests"):
                    line = t.tb_lineno
                t = t.tb_next
            source = (setup if i == 0 else chunks[i - 1]).split("\n")
            text = source[line - 1].strip()[:200] if 0 < line <= len(source) else ""
            name, said = described(e)
            why = why or "%s%s in %s" % (name, ": " + said[:200] if said else "", text)
            if i == 0:
                passed = [False] * len(chunks)
                break
            passed.append(False)
            if not every:
                break
        else:
            if i > 0:
                passed.append(True)
    wire.send(b"R", encoded((passed, why), give))
    os._exit(0)


if sys.path and sys.path[0] == "":
    del sys.path[0]
builtins.exit = builtins.quit = sys.exit  # as the module site has it
program() if sys.argv[1] == "program" else tests()
