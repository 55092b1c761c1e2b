import KnapJSON

/// One resource with a fixed address.
package struct Resource: Sendable, Hashable {
    package var uri: String
    package var method: String
    package var listing: JSON
    package var isInteractive: Bool

    init(_ offer: Offer) throws(Unservable) {
        uri = try offer.item.required("uri")
        method = try offer.item.required("method")
        listing = try offer.item.listing([
            "uri", "name", "title", "description", "mimeType", "size", "annotations", "icons",
        ])
        isInteractive = offer.item["interactive"]?.boolValue ?? false
    }
}

/// A family of resources whose addresses follow an RFC 6570 template.
package struct ResourceTemplate: Sendable, Hashable {
    package var template: URITemplate
    package var method: String
    package var listing: JSON
    package var isInteractive: Bool

    init(_ offer: Offer) throws(Unservable) {
        let text = try offer.item.required("uri")
        guard let template = URITemplate(text) else {
            throw Unservable("\(text) is not a URI template that can be matched")
        }
        self.template = template
        method = try offer.item.required("method")
        guard
            var entry = try offer.item.listing(["name", "title", "description", "mimeType", "annotations", "icons"])
                .objectValue
        else { throw Unservable("it is not an object") }
        entry["uriTemplate"] = .string(text)
        listing = .object(entry)
        isInteractive = offer.item["interactive"]?.boolValue ?? false
    }
}

/// A method that lists resources which come and go without the manifest knowing.
package struct ResourceList: Sendable, Hashable {
    package var method: String

    init(_ offer: Offer) throws(Unservable) { method = try offer.item.required("method") }
}

extension JSON {
    /// The named members alone; `name` must be among them.
    func listing(_ names: [String]) throws(Unservable) -> JSON {
        _ = try required("name")
        var entry = JSONObject()
        for name in names { entry[name] = self[name] }
        return .object(entry)
    }
}
