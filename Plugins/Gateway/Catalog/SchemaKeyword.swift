/// The keywords whose values have schemas in them (JSON Schema 2020-12 core, section 10).
enum SchemaKeyword: String {
    case properties, patternProperties
    case defs = "$defs"
    case definitions, dependentSchemas
    case anyOf, oneOf, allOf, prefixItems
    case items, additionalProperties, unevaluatedProperties, unevaluatedItems, contains, not, `if`, then, `else`
    case propertyNames, contentSchema

    enum Holds {
        case one
        case list
        /// An object whose members are schemas.
        case map
    }

    var holds: Holds {
        switch self {
        case .properties, .patternProperties, .defs, .definitions, .dependentSchemas: .map
        case .anyOf, .oneOf, .allOf, .prefixItems: .list
        case .items, .additionalProperties, .unevaluatedProperties, .unevaluatedItems, .contains, .not, .if, .then,
            .else, .propertyNames, .contentSchema:
            .one
        }
    }
}
