import CLinux
import Glibc

/// System calls on stream sockets with a path.
enum UnixSocket {
    /// A listening, non-blocking socket at `path`, open to this user alone.
    ///
    /// It is made under another name and renamed when it listens: whoever sees the path can connect, and whoever waits
    /// for it waits for the rename. Replaces what is there, so the caller holds the lock of the state directory.
    static func listen(at path: String) throws(ControlError) -> Int32 {
        let descriptor = try make(path, nonBlocking: true)
        let draft = path + ".new"
        unlink(draft)
        let bound = withAddress(draft) { Glibc.bind(descriptor, $0, $1) }
        guard bound == 0, chmod(draft, 0o600) == 0, Glibc.listen(descriptor, 64) == 0, rename(draft, path) == 0 else {
            let number = errno
            close(descriptor)
            unlink(draft)
            throw .system(number, "listen on", path)
        }
        return descriptor
    }

    /// A connected, blocking socket.
    static func connect(to path: String) throws(ControlError) -> Int32 {
        let descriptor = try make(path, nonBlocking: false)
        guard withAddress(path, { Glibc.connect(descriptor, $0, $1) }) == 0 else {
            let number = errno
            close(descriptor)
            throw .system(number, "connect to", path)
        }
        return descriptor
    }

    /// Who is at the other end of a connection, as it was when it connected (SO_PEERCRED, unix(7)).
    static func peer(of descriptor: Int32) -> (pid: Int32, uid: UInt32)? {
        var pid: Int32 = 0
        var uid: UInt32 = 0
        return knap_peer(descriptor, &pid, &uid) == 0 ? (pid, uid) : nil
    }

    /// Like send(2), but an end that is gone is an error and no signal.
    static func send(_ bytes: ArraySlice<UInt8>, on descriptor: Int32) -> Int {
        bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    private static func make(_ path: String, nonBlocking: Bool) throws(ControlError) -> Int32 {
        let descriptor = knap_stream_socket(nonBlocking ? 0 : 1)
        guard descriptor >= 0 else { throw .system(errno, "make a socket for", path) }
        return descriptor
    }

    /// Calls `body` with the address of `path`, which may be longer than the 107 bytes that an address holds: then it
    /// is reached through a descriptor of its directory.
    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        var short = path
        var directory: Int32 = -1
        if path.utf8.count > room, let slash = path.lastIndex(of: "/") {
            directory = knap_open_place(String(path[..<slash]))
            guard directory >= 0 else { return -1 }
            short = "/proc/self/fd/\(directory)" + path[slash...]
        }
        defer { if directory >= 0 { close(directory) } }
        guard short.utf8.count <= room else {
            errno = ENAMETOOLONG
            return -1
        }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: short.utf8) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
