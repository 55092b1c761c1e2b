import KnapJSON
import Synchronization

/// What active plugins contribute, point by point, and who wants to hear of changes.
///
/// A snapshot is complete and immutable. Its epoch rises with every change of the point, so whoever compares epochs
/// misses nothing.
package final class ContributionRegistry: Sendable {
    /// One item of a manifest, with where it comes from.
    struct Entry: Sendable {
        var plugin: String
        var version: String
        var isFirstParty: Bool
        var item: JSON
        /// The manifest's entry of the method that the item names.
        var method: JSON?
    }

    struct Watch: @unchecked Sendable {  // the function and its context are the plugin's, callable on any thread
        let changed: @convention(c) (UnsafeMutableRawPointer?, UInt64) -> Void
        let context: UnsafeMutableRawPointer?
        /// The instance that watches; its watches end with it.
        let generation: UInt
    }

    /// A watch and the lock that `unwatch` waits for: while it is held, `changed` runs.
    private final class Watcher: Sendable {
        let point: String
        let generation: UInt
        let watch: Mutex<Watch?>

        init(point: String, watch: Watch) {
            self.point = point
            generation = watch.generation
            self.watch = Mutex(watch)
        }

        func notify(_ epoch: UInt64) { watch.withLock { $0?.changed($0?.context, epoch) } }
    }

    private struct State {
        var entries: [String: [Entry]] = [:]  // by point, ordered by plugin
        var epochs: [String: UInt64] = [:]
        var watchers: [UInt64: Watcher] = [:]
        var nextWatch: UInt64 = 1
    }

    private let state = Mutex(State())

    package init() {}

    /// Replaces what a plugin contributes, and tells those who watch a point that changed.
    func set(_ contributions: [String: [Entry]], of plugin: String) {
        let told: [(Watcher, UInt64)] = state.withLock { state in
            let had = state.entries.filter { $0.value.contains { $0.plugin == plugin } }.map(\.key)
            var told: [(Watcher, UInt64)] = []
            for point in Set(had).union(contributions.keys).sorted() {
                let others = (state.entries[point] ?? []).filter { $0.plugin != plugin }
                let merged = others + (contributions[point] ?? [])
                state.entries[point] = merged.sortedStably { $0.plugin < $1.plugin }
                let epoch = (state.epochs[point] ?? 0) + 1
                state.epochs[point] = epoch
                told += state.watchers.values.filter { $0.point == point }.map { ($0, epoch) }
            }
            return told
        }
        for (watcher, epoch) in told { watcher.notify(epoch) }
    }

    func entries(of point: String) -> [Entry] { state.withLock { $0.entries[point] ?? [] } }

    /// Whether some plugin contributes the method to one of these points.
    func offers(_ method: String, to points: Set<String>) -> Bool {
        state.withLock { state in
            points.contains { state.entries[$0]?.contains { $0.item["method"]?.stringValue == method } ?? false }
        }
    }

    /// The snapshot as `knap.registry/1` describes it.
    func snapshot(of point: String) -> JSON {
        let (entries, epoch) = state.withLock { ($0.entries[point] ?? [], $0.epochs[point] ?? 0) }
        let contributions = entries.map { entry in
            var object: JSONObject = [
                "plugin": .string(entry.plugin), "version": .string(entry.version),
                "first_party": .bool(entry.isFirstParty), "item": entry.item,
            ]
            object["method"] = entry.method
            return JSON.object(object)
        }
        return ["epoch": .number(JSONNumber(epoch)), "contributions": .array(contributions)]
    }

    func watch(_ point: String, _ watch: Watch) -> UInt64 {
        state.withLock { state in
            defer { state.nextWatch += 1 }
            state.watchers[state.nextWatch] = Watcher(point: point, watch: watch)
            return state.nextWatch
        }
    }

    func unwatch(_ id: UInt64) {
        end(state.withLock { state in state.watchers.removeValue(forKey: id).map { [$0] } ?? [] })
    }

    /// Ends all watches of an instance.
    func unwatchAll(of generation: UInt) {
        end(
            state.withLock { state in
                let gone = state.watchers.filter { $0.value.generation == generation }
                for id in gone.keys { state.watchers[id] = nil }
                return Array(gone.values)
            })
    }

    private func end(_ watchers: [Watcher]) {
        for watcher in watchers { watcher.watch.withLock { $0 = nil } }
    }
}

extension Array {
    /// Sorted, with equal elements in the order they had: the standard sort does not promise it.
    func sortedStably(by areInOrder: (Element, Element) -> Bool) -> [Element] {
        enumerated().sorted { left, right in
            if areInOrder(left.element, right.element) { return true }
            if areInOrder(right.element, left.element) { return false }
            return left.offset < right.offset
        }.map(\.element)
    }
}
