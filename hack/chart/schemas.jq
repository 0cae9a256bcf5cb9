# Kubernetes' OpenAPI v2 description -> JSON schemas as strict as the API server with field validation:
# an unknown field is an error, and so is a missing kind.
def strict:
  if .properties and (.additionalProperties | not) and (.["x-kubernetes-preserve-unknown-fields"] | not)
  then .additionalProperties = false else . end;

{definitions: (.definitions | with_entries(
  .value |= (
    if .["x-kubernetes-group-version-kind"] then .required = ((.required // []) + ["apiVersion", "kind"] | unique) else . end
    | if .format == "int-or-string" then del(.type, .format) | .type = ["string", "integer"] else . end
    | strict
  )
  # A quantity may be written as a number.
  | if (.key | endswith(".api.resource.Quantity")) then .value.type = ["string", "number"] else . end
  # Any JSON value: bounds and defaults inside of a CRD.
  | if (.key | endswith(".JSON") or endswith(".JSONSchemaPropsOrArray") or endswith(".JSONSchemaPropsOrBool")
        or endswith(".JSONSchemaPropsOrStringArray")) then .value = {} else . end
))}
