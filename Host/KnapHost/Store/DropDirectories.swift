import CLinux
import Glibc
import Synchronization

/// Watches the drop directories on a thread of its own and tells what changed in them.
final class DropDirectories: Sendable {
    private let event: Int32
    private let isStopped = Atomic<Bool>(false)

    /// What is there already is not told. `changed` gets what changed, and returns when it was dealt with.
    init(_ directories: [String], changed: @escaping @Sendable ([Inbox.Change]) -> Void) {
        event = knap_event()
        var inbox = Inbox(directories: directories, settle: .milliseconds(50))
        _ = inbox.scan()
        let start = inbox
        startThread { [self] in run(start, directories, changed) }
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
        var one: UInt64 = 1
        _ = write(event, &one, 8)
    }

    private func run(
        _ start: Inbox, _ directories: [String], _ changed: @escaping @Sendable ([Inbox.Change]) -> Void
    ) {
        var inbox = start
        var watch: Int32 = -1
        for directory in directories { watch = knap_watch_changes(watch, directory) }
        defer {
            if watch >= 0 { close(watch) }
            close(event)
        }
        while !isStopped.load(ordering: .relaxed) {
            let changes = inbox.scan()
            // Again and again: a folder that is watched already stays so.
            for folder in inbox.folders { watch = knap_watch_changes(watch, folder) }
            if !changes.isEmpty { changed(changes) }
            var wait = [
                pollfd(fd: watch, events: Int16(POLLIN), revents: 0), pollfd(fd: event, events: Int16(POLLIN), revents: 0),
            ]
            // inotify does not see what another machine does on a network mount; without it every look costs.
            let patience: Int32 = inbox.isSettling ? 20 : watch >= 0 ? 10_000 : 2_000
            poll(&wait, 2, patience)
            var bytes = [UInt8](repeating: 0, count: 1 << 14)
            while watch >= 0, read(watch, &bytes, bytes.count) > 0 {}
        }
    }
}
