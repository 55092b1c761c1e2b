/// The requests that the server answers, and in which era.
package enum RequestMethod: String, Sendable, CaseIterable {
    case initialize
    case ping
    case setLogLevel = "logging/setLevel"
    case discover = "server/discover"
    case listen = "subscriptions/listen"
    case subscribe = "resources/subscribe"
    case unsubscribe = "resources/unsubscribe"
    case listTools = "tools/list"
    case callTool = "tools/call"
    case listResources = "resources/list"
    case listResourceTemplates = "resources/templates/list"
    case readResource = "resources/read"
    case listPrompts = "prompts/list"
    case getPrompt = "prompts/get"
    case complete = "completion/complete"
    // The extension io.modelcontextprotocol/tasks.
    case getTask = "tasks/get"
    case updateTask = "tasks/update"
    case cancelTask = "tasks/cancel"

    package var isLegacy: Bool {
        switch self {
        case .discover, .listen, .getTask, .updateTask, .cancelTask: false
        default: true
        }
    }

    package var isModern: Bool {
        switch self {
        case .initialize, .ping, .setLogLevel, .subscribe, .unsubscribe: false
        default: true
        }
    }

    /// The parameter that the header `Mcp-Name` repeats.
    package var namedBy: String? {
        switch self {
        case .callTool, .getPrompt: "name"
        case .readResource: "uri"
        case .getTask, .updateTask, .cancelTask: "taskId"
        default: nil
        }
    }
}
