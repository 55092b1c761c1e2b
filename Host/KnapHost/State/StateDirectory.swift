import Glibc

/// The directory that belongs to one host: its lock, token, control socket, configuration, plugins and journals.
///
/// One host per state directory. What the directory holds is the host's alone, so it and its files are private to the
/// user (0700, 0600).
package struct StateDirectory: Sendable, Hashable {
    /// Absolute, without symbolic links.
    package let path: String

    package var controlSocket: String { path + "/control.sock" }
    /// What a host that a relay started prints.
    package var hostLog: String { path + "/host.log" }
    /// The inbox for plugins dropped in while the host runs.
    package var plugins: String { path + "/plugins" }
    package var token: String { path + "/token" }
    package var lock: String { path + "/lock" }

    /// Creates the directory and its parents as far as they are missing.
    package init(creating path: String) throws(StateDirectoryError) {
        try Self.makeDirectories(path)
        guard let resolved = realPath(path) else { throw .system(errno, "open", path) }
        self.path = resolved
        // An older, wider mode is narrowed; a directory of someone else's is refused here.
        guard chmod(resolved, 0o700) == 0 else { throw .system(errno, "make private", resolved) }
        try Self.makeDirectories(plugins)
    }

    /// The directory as it is; nil when there is none.
    package init?(existing path: String) {
        guard let resolved = realPath(path), isDirectory(resolved) else { return nil }
        self.path = resolved
    }

    private static func makeDirectories(_ path: String) throws(StateDirectoryError) {
        if isDirectory(path) { return }
        if mkdir(path, 0o700) == 0 { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            let number = errno
            // Two starts at once make it together.
            if number == EEXIST, isDirectory(path) { return }
            throw .system(number == EEXIST ? ENOTDIR : number, "create", path)
        }
        try makeDirectories(String(path[..<slash]))
        guard mkdir(path, 0o700) == 0 || isDirectory(path) else { throw .system(errno, "create", path) }
    }
}

/// The absolute path without symbolic links; nil when nothing is there.
package func realPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
}

package func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}
