import KnapJSON

/// The page at `/`: what runs, and how to connect. Plain HTML, made anew for every request.
enum StatusPage {
    static func render(
        _ contents: StatusReport.Contents, catalog: Catalog, routes: RouteTable, base: String
    ) -> String {
        """
        <!doctype html><html lang="en"><head><meta charset="utf-8"><title>Knap</title>
        <meta name="viewport" content="width=device-width, initial-scale=1"><style>\(style)</style></head><body>
        <h1>Knap</h1>
        \(contents.sections.map(section).joined(separator: "\n"))
        \(connect(base, contents.host))
        <h2>Plugins</h2>\(plugins(contents.plugins))
        <h2>Tools</h2>\(tools(catalog))
        \(rest(routes.routes, base))
        \(problems(catalog.problems + routes.problems))
        </body></html>
        """
    }

    private static let style = """
        body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
        table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;
        border-bottom:1px solid #ddd}pre{background:#f4f4f4;padding:.75rem;white-space:pre-wrap;overflow-wrap:anywhere}
        @media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}pre{background:#282828}td,th{border-color:#444}}
        """

    /// What a plugin shows: a list of objects becomes a table, one column for each name; all else a row.
    private static func section(_ section: StatusReport.Section) -> String {
        if let text = section.value.stringValue { return "<h2>\(escaped(section.title))</h2><p>\(escaped(text))</p>" }
        let parts = (section.value.objectValue?.members ?? []).map { member in
            table(member.value) ?? "<p>\(escaped(member.name)): \(value(member.value))</p>"
        }
        return "<h2>\(escaped(section.title))</h2>\(parts.joined())"
    }

    private static func table(_ json: JSON) -> String? {
        guard let rows = json.arrayValue, let names = rows.first?.objectValue?.names else { return nil }
        let head = names.map { "<th>\(escaped(title($0)))</th>" }.joined()
        let body = rows.map { row in "<tr>\(names.map { "<td>\(row[$0].map(value) ?? "")</td>" }.joined())</tr>" }
        return "<table><tr>\(head)</tr>\(body.joined())</table>"
    }

    private static func value(_ json: JSON) -> String {
        if let truth = json.boolValue { return truth ? "yes" : "no" }
        return escaped(json.stringValue ?? json.serialized())
    }

    /// `next_offset` as a heading: Next offset.
    private static func title(_ name: String) -> String {
        (name.first.map { $0.uppercased() } ?? "") + name.dropFirst().map { $0 == "_" ? " " : $0 }
    }

    private static func plugins(_ plugins: [JSON]) -> String {
        let rows = plugins.map { plugin in
            let cells = ["name", "version", "state", "reason"].map { "<td>\(plugin[$0].map(value) ?? "")</td>" }
            return "<tr>\(cells.joined())</tr>"
        }
        return "<table><tr><th>Name</th><th>Version</th><th>State</th><th>Reason</th></tr>\(rows.joined())</table>"
    }

    private static func tools(_ catalog: Catalog) -> String {
        let rows = catalog.tools.map { tool in
            let listed = tool.isListed ? "" : " (by find_tools)"
            return "<tr><td>\(escaped(tool.name))\(listed)</td><td>\(escaped(tool.plugin))</td>"
                + "<td>\(escaped(tool.description))</td></tr>"
        }
        return "<table><tr><th>Name</th><th>Plugin</th><th>What it does</th></tr>\(rows.joined())</table>"
    }

    /// For programs.
    private static func rest(_ routes: [Route], _ base: String) -> String {
        let rows = routes.map { route in
            let cells = [route.name, route.plugin, route.description].map { "<td>\(escaped($0))</td>" }
            return "<tr>\(cells.joined())</tr>"
        }
        let head = "<tr><th>Route</th><th>Plugin</th><th>What it does</th></tr>"
        let table = rows.isEmpty ? "" : "<table>\(head)\(rows.joined())</table>"
        return "<h2>REST</h2><p>Every tool is also <code>POST \(escaped(base))/tools/NAME</code>; "
            + "<a href=\"\(RESTEndpoint.documentPath)\">\(RESTEndpoint.documentPath)</a> describes all.</p>\(table)"
    }

    private static func problems(_ problems: [Problem]) -> String {
        guard !problems.isEmpty else { return "" }
        let rows = problems.map {
            "<tr><td>\(escaped($0.plugin))</td><td>\(escaped($0.item))</td><td>\(escaped($0.reason))</td></tr>"
        }
        return "<h2>Not served as contributed</h2><table>\(rows.joined())</table>"
    }

    /// Ready to paste: with the paths of this installation, and KNAP_TOKEN where the token goes.
    private static func connect(_ base: String, _ host: JSON) -> String {
        let joining = (host["joining"]?.arrayValue ?? []).compactMap(\.stringValue)
        var snippets: [(String, String)] = []
        if let program = joining.first {
            let arguments = JSON.array(joining.dropFirst().map { .string($0) })
            let server: JSON = ["command": .string(program), "args": arguments]
            snippets = [
                ("Claude Code", "claude mcp add knap -- \(joining.map(quoted).joined(separator: " "))"),
                ("Claude Desktop and Cursor", JSON.object(["mcpServers": ["knap": server]]).serialized(.pretty)),
                (
                    "Codex",
                    "[mcp_servers.knap]\ncommand = \(JSON.string(program).serialized())\nargs = \(arguments.serialized())"
                ),
            ]
        }
        snippets += [
            (
                "Claude Code over HTTP",
                "claude mcp add --transport http knap \(base)/mcp --header \"Authorization: Bearer $KNAP_TOKEN\""
            ),
            (
                "Cursor over HTTP",
                JSON.object([
                    "mcpServers": [
                        "knap": ["url": .string("\(base)/mcp"), "headers": ["Authorization": "Bearer ${env:KNAP_TOKEN}"]]
                    ]
                ]).serialized(.pretty)
            ),
            ("Codex over HTTP", "[mcp_servers.knap]\nurl = \"\(base)/mcp\"\nbearer_token_env_var = \"KNAP_TOKEN\""),
        ]
        let blocks = snippets.map { "<h3>\(escaped($0.0))</h3><pre>\(escaped($0.1))</pre>" }
        let state = host["state_directory"]?.stringValue.map { ", which is in <code>\(escaped($0))/token</code>" } ?? ""
        return "<h2>Connect</h2><p>MCP is at <code>\(escaped(base))/mcp</code>. KNAP_TOKEN stands for the access token\(state).</p>"
            + blocks.joined()
    }

    /// As a shell reads it.
    private static func quoted(_ word: String) -> String {
        let isPlain = word.utf8.allSatisfy { byte in
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20 || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                || "-_./:=@%+,".utf8.contains(byte)
        }
        return isPlain && !word.isEmpty
            ? word : "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }

    static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}
