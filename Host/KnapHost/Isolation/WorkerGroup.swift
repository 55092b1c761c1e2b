import KnapCallEngine
import KnapLink
import KnapPlugin
import Synchronization

/// The workers of a pool, and which of them take calls (Host/Link, groups).
final class WorkerGroup: Sendable {
    // Made by `init`, safe on any thread, and there as long as this object.
    nonisolated(unsafe) let pointer: OpaquePointer
    // Who is told of pressure; retained for the C side as long as that is there.
    private let listener: PressureListener
    private let engine: CallEngine
    private let party: Party
    private let state = Mutex(State())

    struct Member: Sendable {
        let code: WorkerCode
        /// It gets no more calls and is ended when it has none.
        var isDraining = false
    }

    private struct State {
        var members: [Member] = []
        var isServing = false
        /// Why there is no member any more.
        var end: String?
        /// No call can be on its way to a member.
        var isRetired = false
    }

    /// `busy`: calls that one member works on at a time; `onPressure` is told, on any thread, of one that has to wait
    /// although it went to the least loaded, and not again before ``rearm()``.
    init(
        engine: CallEngine, party: Party, busy: Int, onPressure: @escaping @Sendable () -> Void
    ) throws(PluginError) {
        self.engine = engine
        self.party = party
        listener = PressureListener(onPressure)
        var config = knap_group_config_t()
        config.party = party.pointer
        config.busy = UInt32(clamping: busy)
        config.pressed = { context in
            guard let context else { return }
            Unmanaged<PressureListener>.fromOpaque(context).takeUnretainedValue().tell()
        }
        config.context = Unmanaged.passUnretained(listener).toOpaque()
        guard let pointer = knap_group_create(&config) else {
            throw PluginError(code: .resourceExhausted, message: "out of memory for a group of workers")
        }
        self.pointer = pointer
        _ = Unmanaged.passRetained(listener)
    }

    deinit {
        // A leak is better than a call into memory that is gone.
        guard state.withLock({ $0.isRetired }) else { return }
        knap_group_destroy(pointer)
        Unmanaged.passUnretained(listener).release()
    }

    /// Lets pressure be told again.
    func rearm() { knap_group_rearm(pointer) }

    /// Those that live, the oldest first.
    var members: [Member] { state.withLock { $0.members } }

    /// Why no member lives; nil while one does.
    var end: String? { state.withLock { $0.end } }

    /// Adds a worker; it gets calls if the others do. Throws when there are no others any more.
    func join(_ code: WorkerCode) throws(PluginError) {
        let refusal = state.withLock { state -> String? in
            if let end = state.end { return end }
            code.process.serves(state.isServing)
            if let end = code.process.end { return end }
            state.members.append(Member(code: code))
            code.process.admits(state.isServing)
            return nil
        }
        if let refusal { throw PluginError(code: .unavailable, message: refusal) }
    }

    /// Lets calls in, or keeps them out. Members that ended meanwhile are forgotten.
    func serves(_ isServing: Bool) {
        state.withLock { state in
            state.isServing = isServing
            for member in state.members {
                member.code.process.serves(isServing)
                member.code.process.admits(isServing && !member.isDraining)
            }
            guard isServing else { return }
            let last = state.members.last?.code.process.end
            state.members.removeAll { $0.code.process.end != nil }
            if state.members.isEmpty { state.end = last ?? "it has no worker" }
        }
    }

    /// What follows from the end of a member that served.
    enum Consequence: Sendable {
        case othersServe
        /// It was the last: calls wait at the gate, which is nil when memory is exhausted.
        case noneServes(Gate?)
    }

    func ends(_ process: WorkerProcess, _ reason: String) -> Consequence {
        state.withLock { state in
            state.members.removeAll { $0.code.process === process }
            if state.members.isEmpty {
                state.end = reason
                // Before the last stops taking calls: one that finds no member waits at the gate.
                let gate = engine.closeGate(of: [party])
                process.admits(false)
                return .noneServes(gate)
            }
            if !state.members.contains(where: { !$0.isDraining }) {
                state.members[0].isDraining = false
                state.members[0].code.process.admits(true)
            }
            process.admits(false)
            return .othersServe
        }
    }

    // MARK: Shrinking

    /// Gives no more calls to the member that has the fewest, the newest of several; false when it is the only one.
    func drainOne() -> Bool {
        state.withLock { state in
            let serving = state.members.indices.filter { !state.members[$0].isDraining }
            guard state.isServing, serving.count > 1 else { return false }
            let loads = Dictionary(uniqueKeysWithValues: serving.map { ($0, state.members[$0].code.process.outgoing) })
            guard let least = serving.reversed().min(by: { loads[$0, default: 0] < loads[$1, default: 0] }) else { return false }
            state.members[least].isDraining = true
            state.members[least].code.process.admits(false)
            return true
        }
    }

    /// Gives calls again to a member that drains, if there is one.
    func recall() -> Bool {
        state.withLock { state in
            guard state.isServing, let index = state.members.firstIndex(where: \.isDraining) else { return false }
            state.members[index].isDraining = false
            state.members[index].code.process.admits(true)
            return true
        }
    }

    /// Whether a member waits to be taken out by ``takeDrained()``.
    var hasDrained: Bool { members.contains { $0.isDraining && $0.code.process.outgoing == 0 } }

    /// Takes out a member that was drained and has no call any more; its end is then wanted.
    func takeDrained() -> WorkerCode? {
        state.withLock { state in
            guard
                let index = state.members.firstIndex(where: { $0.isDraining && $0.code.process.outgoing == 0 })
            else { return nil }
            state.members[index].code.process.serves(false)
            return state.members.remove(at: index).code
        }
    }

    /// Takes no more members and forgets those it has. No call is admitted any more that could be routed to it, so its
    /// memory may go with this object and its members' links.
    func retire() {
        state.withLock { state in
            state.members = []
            state.end = state.end ?? "its pool has ended"
            state.isRetired = true
        }
    }
}

private final class PressureListener: Sendable {
    let tell: @Sendable () -> Void
    init(_ tell: @escaping @Sendable () -> Void) { self.tell = tell }
}
