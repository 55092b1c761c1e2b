import Synchronization

/// How many folders are watched, for people to know.
final class WatchState: Sendable {
    private let watched = Atomic<Int>(0)
    private let failed = Atomic<Int>(0)

    func began() { watched.add(1, ordering: .relaxed) }
    func ended() { watched.subtract(1, ordering: .relaxed) }
    func couldNotBegin() { failed.add(1, ordering: .relaxed) }

    var text: String {
        let (watched, failed) = (watched.load(ordering: .relaxed), failed.load(ordering: .relaxed))
        guard failed > 0 else { return watched == 0 ? "nothing yet" : watched == 1 ? "1 folder" : "\(watched) folders" }
        return
            "\(watched) folders, but not \(failed) more: the kernel allows no more watches (fs.inotify.max_user_watches)"
    }
}
