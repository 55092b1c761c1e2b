import Glibc
import Testing

@testable import KnapHost

/// A directory of its own for one test, gone when the test ends.
final class Scratch: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/knap-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw ScratchError(message: "mkdtemp: \(String(cString: strerror(errno)))")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = try? Scratch.run(["rm", "-rf", path]) }

    func file(_ name: String) -> String { path + "/" + name }

    @discardableResult
    func write(_ bytes: some Sequence<UInt8>, to name: String) throws -> String {
        let path = file(name)
        let descriptor = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw ScratchError(message: "\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        let bytes = Array(bytes)
        let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard written == bytes.count else { throw ScratchError(message: "\(path): short write") }
        return path
    }

    @discardableResult
    func write(_ text: String, to name: String) throws -> String { try write(text.utf8, to: name) }

    static func read(_ path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ScratchError(message: "\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var status = stat()
        fstat(descriptor, &status)
        return try FileSource(descriptor: descriptor, size: Int(status.st_size)).read(at: 0, count: Int(status.st_size))
    }

    /// Runs a program of PATH and waits for it; throws when it fails.
    static func run(_ arguments: [String]) throws {
        var pid = pid_t()
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        let result = posix_spawnp(&pid, arguments[0], nil, nil, &argv, environ)
        guard result == 0 else { throw ScratchError(message: "\(arguments): \(String(cString: strerror(result)))") }
        var status: CInt = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        guard status == 0 else { throw ScratchError(message: "\(arguments) ended with status \(status)") }
    }

    /// Compiles C into a shared object and returns its path.
    func library(_ name: String = "plugin.so", source: String = Scratch.plugin, flags: [String] = []) throws -> String {
        let code = try write(source, to: name + ".c")
        try Scratch.run(["cc", "-shared", "-fPIC", "-o", file(name), code] + flags)
        return file(name)
    }

    static let plugin = "int knap_plugin_draft(void) { return 0; }\n"
}

struct ScratchError: Error { let message: String }
