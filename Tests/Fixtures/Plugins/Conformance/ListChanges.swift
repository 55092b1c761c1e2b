import KnapPlugin
import Synchronization

extension Conformance {
    static let listChangeMethods: [Method<Conformance>] = [
        .stream("conformance.feed", feed),
        .result("test_trigger_tool_change", triggerToolChange),
        .result("test_trigger_prompt_change", triggerPromptChange),
        .result("test_trigger_resource_list_change", triggerResourceListChange),
        .result("test_trigger_resource_change", triggerResourceChange),
        .content("test_dynamic_tool", .text("This tool comes and goes.")),
        .value("test_dynamic_prompt", dynamicPrompt),
    ]

    /// Tells the Gateway of every change while it lasts, which is until this plugin is replaced or stopped.
    func feed(_ input: Empty, _ call: DuplexCall) async throws {
        for await change in changes.openFeed() { try await call.send(encoding: change) }
        try Task.checkCancellation()
        throw PluginError(code: .unavailable, message: "The plugin stops.")
    }

    func triggerToolChange(_ input: Empty, _ call: Call) async throws -> JSON {
        changes.toggleTool()
        return .said("The list of tools changed.")
    }

    func triggerPromptChange(_ input: Empty, _ call: Call) async throws -> JSON {
        changes.togglePrompt()
        return .said("The list of prompts changed.")
    }

    func triggerResourceListChange(_ input: Empty, _ call: Call) async throws -> JSON {
        changes.toggleResource()
        return .said("The list of resources changed.")
    }

    func triggerResourceChange(_ input: Empty, _ call: Call) async throws -> JSON {
        changes.update()
        return .said("The watched resource changed.")
    }

    func dynamicPrompt(_ request: JSON, _ call: Call) async throws -> JSON {
        ["messages": [["role": "user", "content": .text("This prompt comes and goes.")]]]
    }
}

/// What comes and goes while the plugin runs, and whom to tell.
final class ListChanges: Sendable {
    static let watched = "test://watched-resource"

    private struct State {
        var hasTool = false
        var hasPrompt = false
        var hasSecondResource = true
        var updates = 0
        var feeds: [AsyncStream<JSON>.Continuation] = []

        var items: JSON {
            var items: [JSON] = []
            if hasTool {
                items.append([
                    "kind": "tool", "name": "test_dynamic_tool", "description": "Comes and goes.",
                    "method": "conformance.test_dynamic_tool",
                ])
            }
            if hasPrompt {
                items.append([
                    "kind": "prompt", "name": "test_dynamic_prompt", "description": "Comes and goes.",
                    "method": "conformance.test_dynamic_prompt",
                ])
            }
            return ["items": .array(items)]
        }

        mutating func tell(_ change: JSON) {
            feeds.removeAll { feed in
                if case .terminated = feed.yield(change) { true } else { false }
            }
        }
    }

    private let state = Mutex(State())

    var updates: Int { state.withLock { $0.updates } }
    var hasSecondResource: Bool { state.withLock { $0.hasSecondResource } }

    /// What there is now, and every change from now on.
    func openFeed() -> AsyncStream<JSON> {
        let (stream, feed) = AsyncStream.makeStream(of: JSON.self)
        state.withLock { state in
            state.feeds.append(feed)
            feed.yield(state.items)
        }
        return stream
    }

    func endFeeds() {
        let feeds = state.withLock { state in
            defer { state.feeds = [] }
            return state.feeds
        }
        for feed in feeds { feed.finish() }
    }

    func toggleTool() {
        state.withLock { state in
            state.hasTool.toggle()
            state.tell(state.items)
        }
    }

    func togglePrompt() {
        state.withLock { state in
            state.hasPrompt.toggle()
            state.tell(state.items)
        }
    }

    func toggleResource() {
        state.withLock { state in
            state.hasSecondResource.toggle()
            state.tell(["resources_changed": true])
        }
    }

    func update() {
        state.withLock { state in
            state.updates += 1
            state.tell(["updated": [.string(Self.watched)]])
        }
    }
}
