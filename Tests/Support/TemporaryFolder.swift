import Glibc

/// A folder of its own for one test, gone with the test.
package final class TemporaryFolder: Sendable {
    package let path: String

    package init() throws {
        var template = Array("/tmp/knap-test-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw Failed(message: "mkdtemp: \(String(cString: strerror(errno)))") }
        path = String(cString: made)
    }

    deinit { try? run("rm", "-rf", path) }

    package struct Failed: Error, CustomStringConvertible {
        let message: String
        package var description: String { message }
    }

    /// Runs a program of PATH and waits for it; throws when it fails.
    package func run(_ arguments: String...) throws {
        var pid = pid_t()
        let argv = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        let result = posix_spawnp(&pid, arguments[0], nil, nil, argv, environ)
        guard result == 0 else { throw Failed(message: "\(arguments): \(String(cString: strerror(result)))") }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        guard status == 0 else { throw Failed(message: "\(arguments) ended with status \(status)") }
    }
}
