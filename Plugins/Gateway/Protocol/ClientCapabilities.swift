import KnapJSON

/// What a client says it is and can do.
package struct ClientIdentity: Sendable, Hashable {
    package var capabilities: ClientCapabilities
    /// Its `clientInfo`; nil where it gave none.
    package var info: JSON?

    package init(capabilities: ClientCapabilities = ClientCapabilities(), info: JSON? = nil) {
        self.capabilities = capabilities
        self.info = info
    }

    /// What is kept of it after the request that said it: all, where it is as short as it is in practice.
    package var kept: ClientIdentity {
        let longest = 4096
        var kept = self
        if JSON.object(capabilities.declared).approximateSize > longest { kept.capabilities = ClientCapabilities(capabilities.known) }
        if let info, info.approximateSize > longest {
            let texts = ["name", "title", "version"].compactMap { name in
                info[name]?.stringValue.map { (name, JSON.string($0.cut(to: 256))) }
            }
            kept.info = .object(JSONObject(texts))
        }
        return kept
    }
}

/// The capabilities that a client declared. Only for these may it be asked.
package struct ClientCapabilities: Sendable, Hashable {
    package var declared: JSONObject

    package init(_ declared: JSONObject = JSONObject()) { self.declared = declared }

    package func has(_ name: String) -> Bool { declared[name]?.objectValue != nil }
    package func hasExtension(_ name: String) -> Bool { declared["extensions"]?[name]?.objectValue != nil }

    /// Those of the required ones, in the form of a declaration, that are not declared.
    package func missing(of required: JSONObject) -> JSONObject {
        var missing = JSONObject()
        for (name, value) in required.members where !covers(name, value) {
            // Who declares nothing of a capability is told its plainest form.
            missing[name] = declared[name] == nil && value == ["form": [:]] ? [:] : value
        }
        return missing
    }

    private func covers(_ name: String, _ demand: JSON) -> Bool {
        // Before there was a choice, an empty declaration meant forms, and it still does.
        if name == "elicitation", declared[name]?.objectValue?.isEmpty == true {
            return Self.covers(["form": [:]], demand)
        }
        return Self.covers(declared[name], demand)
    }

    /// Whether everything that a demand names is in a declaration.
    private static func covers(_ declaration: JSON?, _ demand: JSON) -> Bool {
        guard let declaration = declaration?.objectValue else { return false }
        return (demand.objectValue ?? JSONObject()).members.allSatisfy { covers(declaration[$0.name], $0.value) }
    }

    /// The part that makes a difference here: a declaration of any size becomes a short one.
    package var known: JSONObject {
        var known = JSONObject()
        for (name, parts) in [("sampling", ["tools", "context"]), ("elicitation", ["form", "url"]), ("roots", [])] {
            guard let declaration = declared[name]?.objectValue else { continue }
            var kept = JSONObject()
            for part in parts where declaration[part]?.objectValue != nil { kept[part] = [:] }
            known[name] = .object(kept)
        }
        if hasExtension(Self.tasks) { known["extensions"] = .object([Self.tasks: [:]]) }
        return known
    }

    /// What a client must have declared to be asked this; nil for what no client can be asked.
    package static func needed(for method: String, _ params: JSON) -> JSONObject? {
        switch method {
        case "roots/list": return ["roots": [:]]
        case "sampling/createMessage":
            let usesTools = params["tools"] != nil || params["toolChoice"] != nil
            return ["sampling": usesTools ? ["tools": [:]] : [:]]
        case "elicitation/create":
            return ["elicitation": params["mode"]?.stringValue == "url" ? ["url": [:]] : ["form": [:]]]
        default: return nil
        }
    }
}
