import CVaultShims
import Dispatch
import Glibc
import KnapPlugin
import Synchronization

/// The thread that indexes a vault and then follows its files through inotify(7).
///
/// Watches are set before the first scan, so that no change falls between the two. When the kernel's queue overflows,
/// everything is compared again. An index that is found damaged is built anew.
final class VaultWatcher: Sendable {
    private let vault: Vault
    private let onError: @Sendable (any Error) -> Void
    private let inotify: Int32
    /// Woken to end, or because the index is damaged.
    private let thread: BackgroundThread
    private let watched = WatchState()

    init(vault: Vault, onError: @escaping @Sendable (any Error) -> Void) throws(VaultError) {
        self.vault = vault
        self.onError = onError
        thread = try BackgroundThread("changes of the vault cannot be watched")
        inotify = knap_vault_inotify()
        guard inotify >= 0 else {
            throw VaultError(.resourceExhausted, "changes of the vault cannot be watched: \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(inotify) }

    /// What of the vault is watched, for people.
    var state: String { watched.text }

    func start() { thread.start { [self] in run() } }

    /// Returns when the thread has ended: nothing touches the index any more.
    func stop() { thread.stop() }

    // MARK: The thread

    private func run() {
        var watches = WatchTable(inotify: inotify, root: vault.files.root, state: watched)
        watches.add("")
        vault.index.onDamage { [thread] in thread.wake() }
        // Grows while the index cannot take what changed, on a full disk for instance; nil when it has taken everything.
        var patience: Int32? = synchronize() ? nil : Self.leastPatience
        var pending: Set<String> = []
        // Whether nothing is left that the index has done in the background.
        var isAtRest = false
        var isVerified = false
        let settling = DispatchGroup()
        defer { settling.wait() }
        while !thread.shouldStop {
            var waits = [
                pollfd(fd: inotify, events: Int16(POLLIN), revents: 0), pollfd(fd: thread.waking, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&waits, 2, patience ?? (isAtRest ? -1 : 0))
            if ready == 0, patience == nil {
                // Nothing has happened: a step of what can wait.
                if !indexed({ isAtRest = try !vault.index.addGrams() && !vault.index.merge() }) { patience = Self.leastPatience }
                guard isAtRest else { continue }
                if !isVerified {
                    isVerified = true
                    try? vault.index.verify()
                    knap_vault_trim()
                }
                DispatchQueue.global().async(group: settling) { [index = vault.index] in try? index.settle() }
                continue
            }
            guard ready >= 0 else { continue }
            isAtRest = false
            // What was missed before is found by comparing everything.
            var mustScan = ready == 0
            if waits[1].revents != 0 { _ = thread.waitUntilWoken() }
            if vault.index.isDamaged {
                mustScan = true
                settling.wait()
                _ = indexed { try vault.change { try vault.index.rebuild() } }
            }
            while watches.read(into: &pending, mustScan: &mustScan) {}
            if mustScan ? synchronize() : refresh(pending) && vault.indexProblem == nil {
                patience = nil
            } else {
                patience = min(patience.map { $0 * 2 } ?? Self.leastPatience, Self.mostPatience)
            }
            pending.removeAll(keepingCapacity: true)
        }
    }

    private static let leastPatience: Int32 = 1000, mostPatience: Int32 = 30_000

    /// False when the index could not take all of it.
    private func synchronize() -> Bool { indexed { try vault.synchronize { thread.shouldStop } } }

    private func refresh(_ paths: Set<String>) -> Bool {
        indexed { try vault.update(paths.sorted(), shouldStop: { thread.shouldStop }) }
    }

    private func indexed(_ body: () throws -> Void) -> Bool {
        do {
            try body()
            return true
        } catch {
            // Once is enough for the log.
            if vault.indexProblem == nil { onError(error) }
            vault.lags(error)
            return false
        }
    }
}

/// Which watch stands for which folder.
private struct WatchTable {
    let inotify: Int32
    let root: String
    private let state: WatchState
    private var folders: [Int32: String] = [:]
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)

    init(inotify: Int32, root: String, state: WatchState) {
        self.inotify = inotify
        self.root = root
        self.state = state
    }

    private static let events =
        UInt32(IN_CLOSE_WRITE) | UInt32(IN_MOVED_TO) | UInt32(IN_MOVED_FROM) | UInt32(IN_DELETE) | UInt32(IN_CREATE)
        | UInt32(IN_ONLYDIR) | UInt32(IN_DONT_FOLLOW) | UInt32(IN_EXCL_UNLINK)

    /// Watches a folder and all below it; "" is the vault itself.
    mutating func add(_ folder: String) {
        let path = folder.isEmpty ? root : root + "/" + folder
        let watch = inotify_add_watch(inotify, path, Self.events)
        guard watch >= 0 else {
            // A folder that has gone again needs none.
            if errno == ENOSPC || errno == ENOMEM { state.couldNotBegin() }
            return
        }
        if folders.updateValue(folder, forKey: watch) == nil { state.began() }
        guard let stream = opendir(path) else { return }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            guard VaultPath.isVisible(name) else { continue }
            let inner = folder.isEmpty ? name : folder + "/" + name
            var status = stat()
            if lstat(root + "/" + inner, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { add(inner) }
        }
    }

    /// Whether a file that came was linked (link(2)), which nobody closes, rather than made to be written.
    private func hasContent(_ path: String) -> Bool {
        var status = stat()
        return lstat(root + "/" + path, &status) == 0 && (status.st_size > 0 || status.st_nlink > 1)
    }

    /// Reads what has happened; false when there is no more.
    mutating func read(into changed: inout Set<String>, mustScan: inout Bool) -> Bool {
        let count = Glibc.read(inotify, &buffer, buffer.count)
        guard count > 0 else { return false }
        var offset = 0
        let header = MemoryLayout<inotify_event>.size
        while offset + header <= count {
            let event = buffer.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: inotify_event.self) }
            let nameBytes = buffer[(offset + header)..<(offset + header + Int(event.len))].prefix { $0 != 0 }
            offset += header + Int(event.len)
            if event.mask & UInt32(IN_Q_OVERFLOW) != 0 {
                mustScan = true
                continue
            }
            if event.mask & UInt32(IN_IGNORED) != 0 {
                if folders.removeValue(forKey: event.wd) != nil { state.ended() }
                continue
            }
            guard let folder = folders[event.wd], let name = String(validating: nameBytes, as: UTF8.self),
                VaultPath.isVisible(name)
            else { continue }
            let path = folder.isEmpty ? name : folder + "/" + name
            if event.mask & UInt32(IN_ISDIR) != 0 {
                // A folder that came brings notes with it, one that went takes them along.
                if event.mask & (UInt32(IN_CREATE) | UInt32(IN_MOVED_TO)) != 0 { add(path) }
                mustScan = true
            } else if event.mask & UInt32(IN_CREATE) == 0 || hasContent(path) {
                changed.insert(path)
            }
        }
        return true
    }
}
