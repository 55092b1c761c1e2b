import Glibc
import KnapControl
import KnapHost
import KnapJSON

/// What `serve` prints: where it can be reached, and what to paste into clients.
struct Banner {
    let text: String

    init(_ options: ServeOptions, token: String, host: any RunningHost) async {
        let endpoints = await Self.endpoints(host)
        let arguments = Self.relayArguments(options)
        text = [
            Self.addresses(options, token, endpoints),
            Self.clients(program: Self.program, arguments: arguments, endpoint: endpoints?.mcp, token: token),
        ].joined(separator: "\n\n")
    }

    /// Where the gateway listens; nil when it does not. It says so once it has tried.
    private static func endpoints(_ host: any RunningHost) async -> Endpoints? {
        guard let result = await host.ask("gateway.status"), let page = result["http"]?["url"]?.stringValue,
            let mcp = result["http"]?["mcp"]?.stringValue
        else { return nil }
        return Endpoints(page: page, mcp: mcp, openapi: result["http"]?["openapi"]?.stringValue)
    }

    private struct Endpoints {
        var page: String
        var mcp: String
        var openapi: String?
    }

    private static func addresses(_ options: ServeOptions, _ token: String, _ endpoints: Endpoints?) -> String {
        var lines = ["Knap \(Knap.version)"]
        for vault in options.vaults { lines.append("  Vault        \(vault)") }
        if let endpoints {
            lines.append("  Page         \(endpoints.page)?token=\(token)")
            lines.append("  MCP (HTTP)   \(endpoints.mcp)")
            if let openapi = endpoints.openapi { lines.append("  REST         \(openapi)") }
        } else {
            lines.append("  HTTP         not served: `knap plugins` tells why")
        }
        lines.append("  Plugins      \(options.state.plugins)")
        for directory in options.pluginDirectories { lines.append("               \(directory)") }
        lines.append("  State        \(options.state.path)")
        return lines.joined(separator: "\n")
    }

    static func clients(program: String, arguments: [String], endpoint: String?, token: String) -> String {
        let command = ([program] + arguments).map(quoted).joined(separator: " ")
        let server: JSON = ["command": .string(program), "args": .array(arguments.map { .string($0) })]
        let json = JSON.object(["mcpServers": ["knap": server]]).serialized(.pretty)
        let list = JSON.array(arguments.map { .string($0) }).serialized()
        var parts = ["Claude Code:\n  claude mcp add knap -- \(command)"]
        if let endpoint {
            let header = quoted("Authorization: Bearer \(token)")
            parts.append("Claude Code over HTTP:\n  claude mcp add --transport http knap \(endpoint) --header \(header)")
        }
        parts.append("Claude Desktop (claude_desktop_config.json) and Cursor (~/.cursor/mcp.json):\n\(indented(json))")
        // A JSON string is a TOML basic string as long as it has no escaped solidus, which is never written.
        parts.append(
            "Codex (~/.codex/config.toml):\n  [mcp_servers.knap]\n  command = \(JSON.string(program).serialized())\n  args = \(list)")
        return parts.joined(separator: "\n\n")
    }

    static func relayArguments(_ options: ServeOptions) -> [String] {
        var arguments = ["mcp"]
        for vault in options.vaults { arguments += ["--vault", vault] }
        let isDefault = !options.vaults.isEmpty && realPath(StatePath().directory(forVaults: options.vaults)) == options.state.path
        return isDefault ? arguments : arguments + ["--state", options.state.path]
    }

    /// The absolute path of this program.
    static var program: String { realPath("/proc/self/exe") ?? "knap" }

    private static func quoted(_ word: String) -> String {
        let isPlain = word.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "-_./:=@%+,".utf8.contains($0)
            }
        }
        return isPlain && !word.isEmpty ? word : "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }

    private static func indented(_ text: String) -> String {
        text.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n")
    }
}
