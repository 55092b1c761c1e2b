import HTTPTypes
import KnapJSON

/// The arguments that headers repeat, as a tool's input schema says with `x-mcp-header` (2026-07-28, transports, custom
/// headers from tool parameters).
///
/// Clients over HTTP have to drop a tool that breaks a rule of it; it is left out for all, so that its author hears why.
package struct HeaderArguments: Sendable, Hashable {
    /// By the end of the header's name, after `Mcp-Param-`: the properties that lead to the argument.
    package private(set) var paths: [String: [String]] = [:]

    init() {}

    init(inputSchema: JSON) throws(Unservable) { try read(inputSchema, at: []) }

    /// - Parameter path: Nil where more than properties leads there, so that there may be no such argument, or many.
    private mutating func read(_ schema: JSON, at path: [String]?) throws(Unservable) {
        guard let object = schema.objectValue else { return }
        if let name = object["x-mcp-header"] { try add(name, type: object["type"], at: path) }
        for (keyword, value) in object.members {
            switch SchemaKeyword(rawValue: keyword)?.holds {
            case .map:
                for (name, child) in value.objectValue?.members ?? [] {
                    try read(child, at: keyword == SchemaKeyword.properties.rawValue ? path.map { $0 + [name] } : nil)
                }
            case .list: for child in value.arrayValue ?? [] { try read(child, at: nil) }
            case .one: try read(value, at: nil)
            case nil: continue
            }
        }
    }

    private mutating func add(_ name: JSON, type: JSON?, at path: [String]?) throws(Unservable) {
        guard let name = name.stringValue, !name.isEmpty, HTTPField.Name("Mcp-Param-" + name) != nil else {
            throw Unservable("x-mcp-header is not the end of a header's name: \(name.serialized())")
        }
        guard let path, !path.isEmpty else {
            throw Unservable("x-mcp-header \(name) is not on an argument, or on a property of one that is an object")
        }
        guard ["string", "integer", "boolean"].contains(type) else {
            let argument = path.joined(separator: ".")
            throw Unservable("x-mcp-header \(name) is on \(argument), which must be a string, an integer or a boolean")
        }
        guard !paths.keys.contains(where: { $0.lowercased() == name.lowercased() }) else {
            throw Unservable("x-mcp-header \(name) is there twice")
        }
        paths[name] = path
    }
}
