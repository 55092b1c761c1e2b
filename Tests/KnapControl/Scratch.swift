import Glibc

/// A directory that is gone after the test.
final class Scratch: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/knap-test-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw ScratchFailed() }
        path = String(cString: made)
    }

    struct ScratchFailed: Error {}

    deinit { Self.remove(path) }

    func write(_ name: String, _ text: String) {
        let descriptor = open(path + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = text.withCString { Glibc.write(descriptor, $0, strlen($0)) }
        close(descriptor)
    }

    private static func remove(_ path: String) {
        _ = nftw(path, { path, _, _, _ in path.map { Glibc.remove($0) } ?? 0 }, 16, FTW_DEPTH_AND_PHYSICAL)
    }
}

/// FTW_DEPTH | FTW_PHYS (nftw(3)).
private let FTW_DEPTH_AND_PHYSICAL: Int32 = 8 | 1

func mode(_ path: String) -> mode_t {
    var status = stat()
    return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
}
