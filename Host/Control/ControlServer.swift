import CLinux
import Glibc
import Synchronization

/// Listens on the control socket and serves each client by a thread of its own.
package final class ControlServer: Sendable {
    /// Clients served at a time; the next one is told so.
    package static let maximumConnections = 256

    package let path: String
    package let attachments = Attachments()
    private let backend: any ControlBackend
    private let admits: @Sendable (_ pid: Int32) -> Bool
    private let listener: Int32
    /// Signalled first: what is under way is answered, and nothing new is begun.
    private let leaving: Event
    private let stopping: Event
    private let running = Mutex(Running())

    private struct Running {
        /// Connections and the thread that accepts them.
        var threads = 1
        var isStopping = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    /// Starts to listen. The caller holds the lock of the state directory that `path` is in: a socket that a killed
    /// host left there is replaced.
    ///
    /// - Parameter admits: refuses processes of this user that must not control the host, for instance its workers.
    package init(
        path: String, backend: any ControlBackend, admits: @escaping @Sendable (_ pid: Int32) -> Bool = { _ in true }
    ) throws(ControlError) {
        self.path = path
        self.backend = backend
        self.admits = admits
        leaving = try Event()
        stopping = try Event()
        listener = try UnixSocket.listen(at: path)
        guard startThread({ self.accept() }) else {
            close(listener)
            throw .system(EAGAIN, "start a thread for", path)
        }
    }

    /// Lets every connection end in order for a while, then ends it; returns when the last has ended.
    package func stop(within patience: Duration = .zero) async {
        let isFirst = running.withLock { running in
            defer { running.isStopping = true }
            return !running.isStopping
        }
        if isFirst {
            // Nobody new finds a host that goes.
            unlink(path)
            leaving.signal()
        }
        let end = Task { [stopping] in
            guard (try? await Task.sleep(for: patience)) != nil else { return }
            stopping.signal()
        }
        defer { end.cancel() }
        await withCheckedContinuation { continuation in
            let isDone = running.withLock {
                if $0.threads > 0 { $0.waiting.append(continuation) }
                return $0.threads == 0
            }
            if isDone { continuation.resume() }
        }
    }

    private func accept() {
        defer {
            close(listener)
            threadEnded()
        }
        while waitForClient() {
            let socket = knap_accept(listener)
            guard socket >= 0 else {
                if errno == EMFILE || errno == ENFILE || errno == ENOMEM { pause() }
                continue
            }
            guard let peer = UnixSocket.peer(of: socket), peer.uid == geteuid(), admits(peer.pid) else {
                close(socket)
                continue
            }
            guard threadStarts() else {
                refuse(socket)
                continue
            }
            if !startThread({ self.serve(socket) }) {
                close(socket)
                threadEnded()
            }
        }
    }

    private func serve(_ socket: Int32) {
        ControlConnection(
            socket: socket, leave: leaving.descriptor, stop: stopping.descriptor, backend: backend, attachments: attachments
        ).serve()
        close(socket)
        threadEnded()
    }

    private func refuse(_ socket: Int32) {
        let line = ControlReply.failure(.exhausted("the host serves \(Self.maximumConnections) clients already")).line
        _ = UnixSocket.send(line[...], on: socket)
        close(socket)
    }

    /// False when the server stops.
    private func waitForClient() -> Bool {
        var descriptors = [
            pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
            pollfd(fd: leaving.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        while poll(&descriptors, 2, -1) < 0 && errno == EINTR {}
        return descriptors[1].revents == 0
    }

    /// Out of descriptors: the client waits in the queue, so `poll` would return at once again and again.
    private func pause() {
        var stop = pollfd(fd: leaving.descriptor, events: Int16(POLLIN), revents: 0)
        _ = poll(&stop, 1, 100)
    }

    private func threadStarts() -> Bool {
        running.withLock {
            guard $0.threads <= Self.maximumConnections else { return false }
            $0.threads += 1
            return true
        }
    }

    private func threadEnded() {
        let waiting = running.withLock { running -> [CheckedContinuation<Void, Never>] in
            running.threads -= 1
            guard running.threads == 0 else { return [] }
            defer { running.waiting = [] }
            return running.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}
