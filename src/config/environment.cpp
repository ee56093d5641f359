#include <algorithm>

#include "chronos/base/text.h"
#include "config/given.h"
#include "config/suspicion.h"
#include "config/value.h"

namespace chronos::config {
namespace {

/// "REPO1_PATH" becomes "repo1-path".
std::string option_name(std::string_view variable) {
    std::string name(variable);
    for (char& c : name) {
        if (c == '_') c = '-';
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return name;
}

/// What to say about a name that is no option, "" if it is one.
std::string complaint(const std::string& name) {
    if (find_option(name)) return "";
    if (name.starts_with("no-") && find_option(name.substr(3)))
        return "environment contains invalid negate option '" + name + "'";
    if (name.starts_with("reset-") && find_option(name.substr(6)))
        return "environment contains invalid reset option '" + name + "'";
    return "environment contains invalid option '" + name + "'";
}

class Reader {
public:
    explicit Reader(std::vector<std::string>& warnings) : warnings_(warnings) {}

    Result<> read(std::string_view variable, std::string_view text) {
        const std::string name = option_name(variable);
        if (std::string warning = complaint(name); !warning.empty()) {
            warnings_.push_back(std::move(warning) + nearest_option_hint(name));
            return {};
        }
        const NamedOption named = *find_option(name);
        CHRONOS_TRY(check_index(named, name));
        if (text.empty())
            return Error(ErrorKind::option_invalid_value,
                         "environment variable '" + name + "' must have a value");
        if (named.option->type == Type::boolean && text != "y" && text != "n")
            return Error(ErrorKind::option_invalid_value,
                         "environment boolean option '" + name + "' must be 'y' or 'n'");
        if (const std::string why = suspicious_value(*named.option, text); !why.empty())
            warnings_.push_back("environment variable of option '" + name + "': " +
                                printable(shown_value(*named.option, text)) + "\nHINT: " + why);
        add(named, text);
        return {};
    }

    std::vector<Given> take() { return std::move(given_); }

private:
    void add(const NamedOption& named, std::string_view text) {
        const Option& option = *named.option;
        const bool known = std::any_of(given_.begin(), given_.end(), [&](const Given& former) {
            return former.option == &option && former.index == named.index;
        });
        if (known) return;
        const bool many = option.type == Type::list || option.type == Type::hash;
        for (const std::string_view part :
             many ? split(text, ':') : std::vector<std::string_view>{text})
            given_.push_back({.option = &option,
                              .index = named.index,
                              .form = Given::Form::set,
                              .text = std::string(part)});
    }

    std::vector<std::string>& warnings_;
    std::vector<Given> given_;
};

}  // namespace

Result<std::vector<Given>> parse_environment(const std::vector<std::string>& environment,
                                             std::vector<std::string>& warnings) {
    Reader reader(warnings);
    for (const std::string_view prefix : {"CHRONOS_", "PGBACKREST_"})
        for (const std::string_view variable : environment) {
            if (!variable.starts_with(prefix)) continue;
            const std::size_t equal = variable.find('=');
            if (equal == std::string_view::npos) continue;
            CHRONOS_TRY(reader.read(variable.substr(prefix.size(), equal - prefix.size()),
                                    variable.substr(equal + 1)));
        }
    return reader.take();
}

}  // namespace chronos::config
