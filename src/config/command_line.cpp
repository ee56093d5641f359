#include <algorithm>

#include "chronos/base/text.h"
#include "config/given.h"

namespace chronos::config {
namespace {

/// What an argument that begins with "--" names.
struct Match {
    NamedOption named;
    Given::Form form = Given::Form::set;
};

/// The digits behind "repo", "pg" or "db", 0 if there are none.
unsigned index_in(std::string_view name) {
    const std::size_t first = name.find_first_of("0123456789-");
    if (first == std::string_view::npos || name[first] == '-') return 0;
    const std::size_t last = std::min(name.find_first_not_of("0123456789", first), name.size());
    return static_cast<unsigned>(parse_uint(name.substr(first, last - first)).value_or(0));
}

/// The only option with a name that begins so; several names of one option count once.
std::optional<NamedOption> find_by_prefix(std::string_view prefix) {
    std::optional<NamedOption> found;
    if (prefix.empty()) return found;
    for (const std::string& name : names_with_index(index_in(prefix))) {
        if (!name.starts_with(prefix)) continue;
        const auto named = find_option(name);
        if (found && named && named->option != found->option) return std::nullopt;
        found = named;
    }
    return found;
}

using Finder = std::optional<NamedOption> (*)(std::string_view);

std::optional<Match> find_form(std::string_view name, Finder finder) {
    if (const auto named = finder(name)) return Match{.named = *named};
    if (name.starts_with("no-"))
        if (const auto named = finder(name.substr(3)))
            return Match{.named = *named, .form = Given::Form::negate};
    if (name.starts_with("reset-"))
        if (const auto named = finder(name.substr(6)))
            return Match{.named = *named, .form = Given::Form::reset};
    return std::nullopt;
}

Error unknown_option(std::string_view argument, std::string_view name) {
    Error error(ErrorKind::option_invalid, "invalid option '" + std::string(argument) + "'");
    std::string_view bare = name;
    std::string prefix;
    for (const std::string_view form : {"no-", "reset-"})
        if (bare.starts_with(form)) {
            bare.remove_prefix(form.size());
            prefix = form;
        }
    std::vector<std::string> names = names_with_index(0);
    // Somebody who forgot the index means the first repository or cluster.
    for (std::string& indexed : names_with_index(index_in(bare) == 0 ? 1 : index_in(bare)))
        names.push_back(std::move(indexed));
    const auto nearest = nearest_name(bare, names);
    if (!nearest) return error;
    return std::move(error).with_hint("Did you mean --" + prefix + *nearest + "?");
}

Result<> check_form(const Match& match, std::string_view name) {
    const Option& option = *match.named.option;
    if (match.form == Given::Form::negate && option.type != Type::boolean && !option.negatable)
        return Error(ErrorKind::option_invalid,
                     "option '" + std::string(name) + "' cannot be negated");
    if (match.form == Given::Form::reset && option.section == Section::command_line)
        return Error(ErrorKind::option_invalid,
                     "option '" + std::string(name) + "' cannot be reset");
    if (match.form == Given::Form::set && option.secret)
        return Error(ErrorKind::option_invalid, "option '" +
                                                    indexed_name(option, match.named.index) +
                                                    "' is not allowed on the command-line")
            .with_hint("This option could expose secrets in the process list.")
            .with_hint(
                "Specify the option in a configuration file or an environment variable instead.");
    return {};
}

class Parser {
public:
    explicit Parser(const std::vector<std::string>& arguments) : arguments_(arguments) {}

    Result<CommandLine> run() {
        for (; at_ < arguments_.size(); ++at_) {
            const std::string& argument = arguments_[at_];
            if (options_ended_ || argument.size() < 2 || argument[0] != '-')
                CHRONOS_TRY(positional(argument));
            else if (argument == "--")
                options_ended_ = true;
            else if (argument[1] != '-')
                return Error(ErrorKind::option_invalid,
                             "option '" + argument + "' must begin with --");
            else
                CHRONOS_TRY(option(argument));
        }
        return std::move(line_);
    }

private:
    Result<> positional(const std::string& argument) {
        if (line_.command != nullptr) {
            line_.parameters.push_back(argument);
            return {};
        }
        line_.command = find_command(argument);
        if (line_.command != nullptr) return {};
        std::vector<std::string> names;
        for (const CommandInfo& info : command_table()) {
            if (info.internal) continue;
            names.emplace_back(info.name);
            if (line_.command == nullptr && !argument.empty() && info.name.starts_with(argument))
                line_.command = &info;
        }
        if (line_.command != nullptr) return {};
        Error error(ErrorKind::command_invalid, "invalid command '" + argument + "'");
        const auto nearest = nearest_name(argument, names);
        if (!nearest) return error;
        return std::move(error).with_hint("Did you mean '" + *nearest + "'?");
    }

    Result<> option(const std::string& argument) {
        const std::size_t equal = argument.find('=');
        const std::string name = argument.substr(2, equal == std::string::npos ? equal : equal - 2);
        if (name == "help" || name == "version") {
            line_.command = find_command(name);
            return {};
        }
        auto match = find_form(name, find_option);
        if (!match) match = find_form(name, find_by_prefix);
        if (!match) return unknown_option(argument, name);
        CHRONOS_TRY(check_index(match->named, name));
        CHRONOS_TRY(check_form(*match, name));
        Given given{.option = match->named.option,
                    .index = match->named.index,
                    .form = match->form,
                    .text = {}};
        if (equal != std::string::npos) given.text = argument.substr(equal + 1);
        CHRONOS_TRY(complete(given, name, equal != std::string::npos));
        CHRONOS_TRY(check_combination(given));
        line_.options.push_back(std::move(given));
        return {};
    }

    /// Finds the value, which may be the next argument.
    Result<> complete(Given& given, const std::string& name, bool has_value) {
        if (given.form != Given::Form::set) {
            if (has_value)
                return Error(ErrorKind::option_invalid,
                             "option '" + name + "' does not allow an argument");
            return {};
        }
        if (given.option->type == Type::boolean) return complete_boolean(given, name, has_value);
        if (has_value) return {};
        if (at_ + 1 >= arguments_.size())
            return Error(ErrorKind::option_invalid, "option '--" + name + "' requires an argument");
        given.text = arguments_[++at_];
        return {};
    }

    static Result<> complete_boolean(Given& given, const std::string& name, bool has_value) {
        if (!has_value) {
            given.text = "y";
        } else if (given.text == "n") {
            given.form = Given::Form::negate;
            given.text.clear();
        } else if (given.text != "y") {
            return Error(ErrorKind::option_invalid_value,
                         "boolean option '--" + name + "' argument must be 'y' or 'n'");
        }
        return {};
    }

    Result<> check_combination(const Given& given) const {
        const bool many = given.option->type == Type::list || given.option->type == Type::hash;
        for (const Given& former : line_.options) {
            if (former.option != given.option || former.index != given.index) continue;
            const std::string name = "option '" + indexed_name(*given.option, given.index) + "' ";
            if (former.form == given.form) {
                if (many && given.form == Given::Form::set) continue;
                return Error(ErrorKind::option_invalid, name + "cannot be set multiple times");
            }
            static constexpr const char* kVerbs[] = {"set", "negated", "reset"};
            const auto forms = std::minmax(former.form, given.form);
            return Error(ErrorKind::option_invalid,
                         name + "cannot be " + kVerbs[static_cast<int>(forms.first)] + " and " +
                             kVerbs[static_cast<int>(forms.second)]);
        }
        return {};
    }

    const std::vector<std::string>& arguments_;
    std::size_t at_ = 0;
    bool options_ended_ = false;
    CommandLine line_;
};

}  // namespace

Result<> check_index(const NamedOption& named, std::string_view written) {
    const std::string name(written);
    if (named.index_missing)
        return Error(ErrorKind::option_invalid, "option '" + name + "' requires an index")
            .with_hint("Add the required index, e.g. " + indexed_name(*named.option, 1) + ".");
    if (named.index_invalid)
        return Error(ErrorKind::option_invalid,
                     "option '" + name + "' key exceeds maximum of " + std::to_string(kIndexMax))
            .with_hint("Indexes go from 1 to " + std::to_string(kIndexMax) + ".");
    return {};
}

Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments) {
    return Parser(arguments).run();
}

}  // namespace chronos::config
