import Glibc
import KnapJSON
import Testing

extension Scratch {
    func folder(_ name: String) -> String {
        mkdir(path + "/" + name, 0o755)
        return path + "/" + name
    }
}

/// Runs a program and waits; its exit status.
@discardableResult
func run(_ program: String, _ arguments: [String]) -> Int32 {
    var pid = pid_t()
    let argv = ([program] + arguments).map { strdup($0) } + [nil]
    defer { for argument in argv { free(argument) } }
    guard posix_spawnp(&pid, program, nil, nil, argv, environ) == 0 else { return -1 }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return status
}

/// A plugin in C, compiled for one test, with its manifest beside it.
struct FixturePlugin {
    var name: String
    var switches: [String] = []
    var manifest: JSON

    init(_ name: String, switches: [String] = [], requires: [String] = [], edit: (inout JSON) -> Void = { _ in }) {
        self.name = name
        self.switches = switches
        let methods = ["echo", "twice", "never", "late", "fail"].map { method -> JSON in
            var entry: JSON = ["name": .string(method), "blocking": false, "deadline_ms": 200]
            if method == "echo" { entry["input"] = ["type": "object", "required": ["text"]] }
            return entry
        }
        manifest = [
            "manifest": 1, "name": .string(name), "version": "1.0.0", "abi": "draft",
            "provides": [["service": .string("test.\(name)"), "version": "1.0.0", "methods": .array(methods)]],
            "requires": .array(requires.map { ["service": .string($0), "version": "*"] }),
            "hooks": ["activate_timeout_ms": 300],
        ]
        edit(&manifest)
    }

    /// Compiles into a folder and returns the library's path.
    @discardableResult
    func build(in folder: String) throws -> String {
        let library = "\(folder)/\(name).so"
        let root = #filePath.split(separator: "/").dropLast(4).joined(separator: "/")
        let status = run(
            "cc",
            ["-shared", "-fPIC", "-fvisibility=hidden", "-O1", "-I/\(root)/PluginAPI/C/include", "-DNAME=\"\(name)\""]
                + switches.map { "-D\($0)" } + ["/\(root)/Tests/Fixtures/Plugins/C/fixture.c", "-o", library])
        #expect(status == 0)
        try write(manifest.serialized(), to: "\(folder)/\(name).json")
        return library
    }
}

func write(_ text: String, to path: String) throws {
    let file = try #require(fopen(path, "w"))
    fputs(text, file)
    fclose(file)
}
