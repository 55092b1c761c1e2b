import Synchronization

/// What a task waits for when another thread has to tell it to look again.
///
/// A signal that finds nobody waiting is kept (one, however many came), so a task that looks, finds nothing and then
/// waits cannot miss one. `wait` also returns when its task is cancelled: whoever waits looks again in a loop.
final class Wakeup: Sendable {
    private enum State {
        case quiet
        case signalled
        /// Signalled for good.
        case open
        case waiting([UnsafeContinuation<Void, Never>])
    }

    private let state = Mutex(State.quiet)

    /// Lets the next wait, or all that wait now, return.
    func signal() { move { if case .open = $0 { .open } else { .signalled } } }

    /// Lets every wait return from now on.
    func open() { move { _ in .open } }

    private func move(to next: (borrowing State) -> State) {
        let waiting = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            guard case .waiting(let waiting) = state else {
                state = next(state)
                return []
            }
            let after = next(state)
            if case .open = after { state = .open } else { state = .quiet }
            return waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns after a signal, or when the task is cancelled.
    func wait() async {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                if enter(continuation) { continuation.resume() }
                // A cancellation that came before the continuation was stored found nobody to wake.
                if Task.isCancelled { signal() }
            }
        } onCancel: {
            signal()
        }
    }

    /// Joins those who wait; true when there is no need to.
    private func enter(_ continuation: UnsafeContinuation<Void, Never>) -> Bool {
        state.withLock { state in
            switch state {
            case .open: return true
            case .signalled:
                state = .quiet
                return true
            case .quiet: state = .waiting([continuation])
            case .waiting(let others): state = .waiting(others + [continuation])
            }
            return false
        }
    }
}
