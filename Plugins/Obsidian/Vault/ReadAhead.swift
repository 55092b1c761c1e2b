import Dispatch
import Synchronization

/// Does the same to one input after the other on several threads, a few steps ahead of the one who takes the results in
/// the inputs' order.
struct ReadAhead<Input: Sendable, Output: Sendable> {
    private final class Result: Sendable {
        let isDone = DispatchSemaphore(value: 0)
        let output = Mutex<Output?>(nil)
    }

    /// How many results there may be that nobody has taken yet.
    private static var window: Int { 4 }

    private var inputs: ArraySlice<Input>
    private let work: @Sendable (Input) -> Output
    private var begun: [Result] = []

    init(_ inputs: [Input], _ work: @escaping @Sendable (Input) -> Output) {
        self.inputs = inputs[...]
        self.work = work
    }

    /// Waits for the next; nil after the last.
    mutating func next() -> Output? {
        while begun.count < Self.window, let input = inputs.popFirst() {
            let result = Result()
            begun.append(result)
            DispatchQueue.global().async { [work] in
                result.output.withLock { $0 = work(input) }
                result.isDone.signal()
            }
        }
        guard !begun.isEmpty else { return nil }
        let first = begun.removeFirst()
        first.isDone.wait()
        return first.output.withLock { $0.take() }
    }
}
