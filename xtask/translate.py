"""Makes of the template what CloudFormation makes of it: the SAM transform, then the conditions.

    python translate.py TEMPLATE FOLDER

The folder gets `translated.json`, in which the conditions still stand, and for each way to deploy
`default.json`, `everything.json` and `nothing.json`, in which they are decided: checkers do not
look behind every condition.
"""

import json
import os
import sys

import boto3
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

REGION = "eu-central-1"
PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "cloudsnooze",
    "AWS::URLSuffix": "amazonaws.com",
}

# What each way sets beside the defaults: every switch on, every switch off.
WAYS = {
    "default": {},
    "everything": {
        "Architecture": "x86_64",
        "DrillAgeDays": 30,
        "OperatorEmail": "operators@example.com",
        "SecurityGroupIds": ["sg-0123456789abcdef0"],
        "SubnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "Tracing": "Active",
    },
    "nothing": {
        "Alarms": "false",
        "AllowDrills": "false",
        "ArchiveDays": 0,
        "ArchiveDeadLetters": "false",
    },
}
NOTHING = object()


def main(template, folder):
    os.makedirs(folder, exist_ok=True)
    with open(template, encoding="utf-8") as file:
        source = yaml.safe_load(file)
    parameters = {name: one.get("Default") for name, one in source["Parameters"].items()}
    for way, values in WAYS.items():
        unknown = values.keys() - parameters.keys()
        if unknown:
            sys.exit(f"translate.py: {template} has no parameters {sorted(unknown)}")
    for resource in source["Resources"].values():
        # `sam deploy` puts the address of the uploaded code here.
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    translated = translator.translate(sam_template=source, parameter_values=parameters)
    write(folder, "translated", translated)
    for way, values in WAYS.items():
        write(folder, way, decided(translated, {**parameters, **values}))


def write(folder, name, template):
    with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as file:
        json.dump(template, file, indent=1, sort_keys=True)


def decided(template, parameters):
    """The template with all its conditions decided."""
    conditions = template.get("Conditions", {})

    def holds(condition):
        (kind, value), = condition.items()
        if kind == "Condition":
            return holds(conditions[value])
        if kind == "Fn::And":
            return all(holds(one) for one in value)
        if kind == "Fn::Or":
            return any(holds(one) for one in value)
        if kind == "Fn::Not":
            return not holds(value[0])
        if kind == "Fn::Equals":
            one, other = (plain(side) for side in value)
            return str(one) == str(other)
        sys.exit(f"translate.py: the condition {kind} is not known")

    def plain(value):
        if isinstance(value, dict) and "Ref" in value:
            return {**PSEUDO, **parameters}[value["Ref"]]
        if isinstance(value, dict) and "Fn::Join" in value:
            between, items = value["Fn::Join"]
            items = plain(items)
            return between.join(items if isinstance(items, list) else [items])
        return value

    def of(value):
        if isinstance(value, list):
            return [one for one in map(of, value) if one is not NOTHING]
        if not isinstance(value, dict):
            return value
        if "Fn::If" in value:
            name, then, other = value["Fn::If"]
            return of(then if holds(conditions[name]) else other)
        if value == {"Ref": "AWS::NoValue"}:
            return NOTHING
        members = {key: of(one) for key, one in value.items()}
        return {key: one for key, one in members.items() if one is not NOTHING}

    def stays(entry):
        return "Condition" not in entry or holds(conditions[entry["Condition"]])

    whole = {**template}
    for section in ("Resources", "Outputs"):
        entries = {name: entry for name, entry in template[section].items() if stays(entry)}
        without = {name: {k: v for k, v in entry.items() if k != "Condition"}
                   for name, entry in entries.items()}
        whole[section] = of(without)
    del whole["Conditions"]
    # Their groups are for the console, and parameters that only conditions named are idle here.
    del whole["Metadata"]
    texts = json.dumps(whole["Resources"])
    whole["Parameters"] = {
        name: {**one, "Default": written(parameters[name])}
        for name, one in template["Parameters"].items()
        if f'"Ref": "{name}"' in texts or "${" + name + "}" in texts
    }
    return whole


def written(value):
    return ",".join(value) if isinstance(value, list) else value


if __name__ == "__main__":
    main(*sys.argv[1:])
