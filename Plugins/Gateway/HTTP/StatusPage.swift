import KnapJSON

/// The page at `/`: what runs, and how to connect. Plain HTML, made anew for every request.
enum StatusPage {
    static func render(_ contents: StatusReport.Contents, catalog: Catalog, base: String) -> String {
        """
        <!doctype html><html lang="en"><head><meta charset="utf-8"><title>Knap</title>
        <meta name="viewport" content="width=device-width, initial-scale=1"><style>\(style)</style></head><body>
        <h1>Knap</h1>
        \(contents.sections.map(section).joined(separator: "\n"))
        \(connect(base))
        <h2>Plugins</h2>\(plugins(contents.plugins))
        <h2>Tools</h2>\(tools(catalog))
        \(problems(catalog.problems))
        </body></html>
        """
    }

    private static let style = """
        body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
        table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;
        border-bottom:1px solid #ddd}pre{background:#f4f4f4;padding:.75rem;overflow:auto}
        @media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}pre{background:#282828}td,th{border-color:#444}}
        """

    /// What a plugin shows: a list of objects becomes a table, one column for each name; all else a row.
    private static func section(_ section: StatusReport.Section) -> String {
        let parts = (section.value.objectValue?.members ?? []).map { member in
            table(member.value) ?? "<p>\(escaped(member.name)): \(value(member.value))</p>"
        }
        return "<h2>\(escaped(section.title))</h2>\(parts.joined())"
    }

    private static func table(_ json: JSON) -> String? {
        guard let rows = json.arrayValue, let names = rows.first?.objectValue?.names else { return nil }
        let head = names.map { "<th>\(escaped($0))</th>" }.joined()
        let body = rows.map { row in "<tr>\(names.map { "<td>\(row[$0].map(value) ?? "")</td>" }.joined())</tr>" }
        return "<table><tr>\(head)</tr>\(body.joined())</table>"
    }

    private static func value(_ json: JSON) -> String { escaped(json.stringValue ?? json.serialized()) }

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

    private static func problems(_ problems: [Problem]) -> String {
        guard !problems.isEmpty else { return "" }
        let rows = problems.map {
            "<tr><td>\(escaped($0.plugin))</td><td>\(escaped($0.item))</td><td>\(escaped($0.reason))</td></tr>"
        }
        return "<h2>Not served as contributed</h2><table>\(rows.joined())</table>"
    }

    private static func connect(_ base: String) -> String {
        let snippets = [
            (
                "Claude Code",
                "claude mcp add --transport http knap \(base)/mcp --header \"Authorization: Bearer $KNAP_TOKEN\""
            ),
            ("Any client over stdio", "{\"mcpServers\": {\"knap\": {\"command\": \"knap\", \"args\": [\"mcp\"]}}}"),
            (
                "Cursor",
                "{\"mcpServers\": {\"knap\": {\"url\": \"\(base)/mcp\", "
                    + "\"headers\": {\"Authorization\": \"Bearer ${env:KNAP_TOKEN}\"}}}}"
            ),
            ("Codex", "[mcp_servers.knap]\nurl = \"\(base)/mcp\"\nbearer_token_env_var = \"KNAP_TOKEN\""),
        ]
        let blocks = snippets.map { "<h3>\(escaped($0.0))</h3><pre>\(escaped($0.1))</pre>" }
        return "<h2>Connect</h2><p>MCP is at <code>\(escaped(base))/mcp</code>.</p>\(blocks.joined())"
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
