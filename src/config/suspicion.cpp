#include "config/suspicion.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "chronos/base/text.h"
#include "chronos/config/command.h"
#include "chronos/config/warning.h"
#include "config/value.h"

namespace chronos::config {
namespace {

constexpr std::string_view kGlobal = "global";

/// Commands of pgBackRest that are not ours: sections for them are not mistakes.
constexpr std::array<std::string_view, 6> kForeignCommands{
    "manifest", "repo-create", "repo-put", "repo-rm", "server", "server-ping"};

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || c == '-' || c == '_' || c == '.';
}

/// Two neighbours changed places.
bool is_swap(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    const auto at =
        static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin());
    return at + 1 < a.size() && a[at] == b[at + 1] && a[at + 1] == b[at] &&
           a.substr(at + 2) == b.substr(at + 2);
}

/// One letter more, less or other. Digits do not count: db1 and db2 are two names.
bool is_one_letter(std::string_view a, std::string_view b) {
    if (a.size() < b.size()) std::swap(a, b);
    if (a.size() - b.size() > 1) return false;
    const auto at =
        static_cast<std::size_t>(std::mismatch(b.begin(), b.end(), a.begin()).first - b.begin());
    if (at == a.size() || !is_letter(a[at])) return false;
    if (a.size() > b.size()) return a.substr(at + 1) == b.substr(at);
    return is_letter(b[at]) && a.substr(at + 1) == b.substr(at + 1);
}

/// `strictly`: of two names that may both be meant.
bool looks_like(std::string_view left, std::string_view right, bool strictly) {
    if (left == right) return false;
    const std::string a = lower(left);
    const std::string b = lower(right);
    if (a == b) return true;
    constexpr std::size_t kShort = 4;
    if (a.size() < kShort || b.size() < kShort) return false;
    return is_swap(a, b) || (!strictly && is_one_letter(a, b));
}

struct Invisible {
    std::string_view bytes;
    std::string_view name;
};

/// What editors, web pages and word processors put in place of a blank or between letters.
constexpr std::array kInvisible{
    Invisible{"\xC2\xA0", "a non-breaking space"},
    Invisible{"\xC2\xAD", "a soft hyphen"},
    Invisible{"\xE2\x80\x80", "an en quad"},
    Invisible{"\xE2\x80\x82", "an en space"},
    Invisible{"\xE2\x80\x83", "an em space"},
    Invisible{"\xE2\x80\x87", "a figure space"},
    Invisible{"\xE2\x80\x89", "a thin space"},
    Invisible{"\xE2\x80\x8A", "a hair space"},
    Invisible{"\xE2\x80\x8B", "a zero-width space"},
    Invisible{"\xE2\x80\x8C", "a zero-width non-joiner"},
    Invisible{"\xE2\x80\x8D", "a zero-width joiner"},
    Invisible{"\xE2\x80\x8E", "a left-to-right mark"},
    Invisible{"\xE2\x80\x8F", "a right-to-left mark"},
    Invisible{"\xE2\x80\xA8", "a line separator"},
    Invisible{"\xE2\x80\xAF", "a narrow non-breaking space"},
    Invisible{"\xE2\x81\xA0", "a word joiner"},
    Invisible{"\xE3\x80\x80", "an ideographic space"},
    Invisible{"\xEF\xBB\xBF", "a byte order mark"},
};

/// "" if there is none.
std::string invisible_in(std::string_view text) {
    for (const Invisible& one : kInvisible)
        if (text.find(one.bytes) != std::string_view::npos) return std::string(one.name);
    const bool control = std::any_of(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F;
    });
    return control ? "a control character" : "";
}

/// A shell reads these: comments, quotes and variables are its own affair.
bool is_for_shell(const Option& option) {
    return option.name.ends_with("-command") || option.name.ends_with("-cmd") ||
           is(option, "exec") || is(option, "cmd") || is(option, "recovery-option");
}

bool begins_with_any(std::string_view text, std::initializer_list<std::string_view> starts) {
    return std::any_of(starts.begin(), starts.end(),
                       [&](std::string_view start) { return text.starts_with(start); });
}

bool is_quoted(std::string_view text) {
    if (begins_with_any(text, {"\xE2\x80\x98", "\xE2\x80\x9C", "\xE2\x80\x9E", "\xC2\xAB"}))
        return true;
    return text.size() > 1 && (text[0] == '"' || text[0] == '\'') && text.back() == text[0];
}

bool has_comment(std::string_view text) {
    for (std::size_t at = 1; at < text.size(); ++at)
        if ((text[at] == '#' || text[at] == ';') && (text[at - 1] == ' ' || text[at - 1] == '\t'))
            return true;
    return false;
}

/// "/x repo1-type=posix": a line feed is missing.
bool has_assignment(std::string_view text) {
    for (const std::string_view word : split(text, ' ')) {
        const std::size_t equal = word.find('=');
        if (equal != std::string_view::npos && word.data() != text.data() &&
            find_option(word.substr(0, equal)))
            return true;
    }
    return false;
}

bool has_variable(std::string_view text) {
    for (std::size_t at = 0; at + 1 < text.size(); ++at) {
        const char next = lower(text.substr(at + 1, 1))[0];
        if (text[at] == '$' && (next == '{' || next == '_' || (next >= 'a' && next <= 'z')))
            return true;
    }
    return false;
}

std::string suspicious_path(std::string_view text) {
    if (has_variable(text)) return "Variables are not replaced in a path.";
    if (text.back() == ';' || text.back() == ',')
        return std::string("The '") + text.back() + "' at the end is part of the path.";
    return "";
}

std::string_view stanza_of(std::string_view section) {
    return section.substr(0, section.find(':'));
}

std::string_view command_of(std::string_view section) {
    const std::size_t colon = section.find(':');
    return colon == std::string_view::npos ? std::string_view() : section.substr(colon + 1);
}

/// As it was meant: without blanks and quotes around it.
std::string_view bare(std::string_view name) {
    constexpr std::string_view kAround = " \t\r\"'[]";
    const std::size_t first = name.find_first_not_of(kAround);
    if (first == std::string_view::npos) return {};
    return name.substr(first, name.find_last_not_of(kAround) - first + 1);
}

bool is_stanza_name(std::string_view name) {
    if (name.empty() || trim(name) != name || !invisible_in(name).empty()) return false;
    if (name.find_first_of("\"'[]") != std::string_view::npos) return false;
    const Option& option = row_of("stanza");
    return static_cast<bool>(check_value(option, "stanza", CommandId::info, name));
}

std::vector<std::string> known_commands() {
    std::vector<std::string> names(kForeignCommands.begin(), kForeignCommands.end());
    for (const CommandInfo& command : command_table())
        if (!command.internal) names.emplace_back(command.name);
    return names;
}

/// Looks at one set of files.
class Suspect {
public:
    Suspect(const ConfigLines& lines, const Reading& reading) : lines_(lines), reading_(reading) {
        for (const FileSection& section : lines.sections)
            names_.insert(std::string(stanza_of(section.name)));
        for (const FileEntry& entry : lines.entries) {
            const auto named = find_option(entry.key);
            if (named && named->option->group == Group::pg)
                clusters_.insert(std::string(stanza_of(entry.section)));
        }
    }

    std::vector<std::string> all() {
        for (const FileSection& section : lines_.sections) look_at(section);
        for (const FileEntry& entry : lines_.entries) look_at(entry);
        return std::move(warnings_);
    }

private:
    bool is_cluster(std::string_view name) const { return clusters_.contains(std::string(name)); }
    bool is_there(std::string_view name) const { return names_.contains(std::string(name)); }

    void look_at(const FileSection& section) {
        const std::string why = suspicious_section(section.name);
        if (why.empty()) return;
        warnings_.push_back("configuration file '" + section.file + "', line " +
                            std::to_string(section.line) + ": [" + printable(section.name) +
                            "]\nHINT: " + why);
    }

    std::string suspicious_section(std::string_view section) const {
        const std::string_view name = stanza_of(section);
        const std::string_view command = command_of(section);
        if (section.find(':') != std::string_view::npos && name.size() < section.size())
            if (std::string why = suspicious_command(command); !why.empty()) return why;
        if (name == kGlobal) return "";
        constexpr std::string_view kNothing = "Nothing reads this section: ";
        if (lower(bare(name)) == kGlobal && !is_cluster(name))
            return std::string(kNothing) +
                   "'[global]' is written so, without blanks and in lower "
                   "case.";
        if (!name.empty() && name == reading_.stanza) return "";
        if (!is_stanza_name(name)) return std::string(kNothing) + "no stanza can have this name.";
        return suspicious_stanza(name);
    }

    static std::string suspicious_command(std::string_view command) {
        const std::vector<std::string> names = known_commands();
        if (std::find(names.begin(), names.end(), command) != names.end()) return "";
        std::string why = "Nothing reads this section: there is no such command.";
        if (const auto nearest = nearest_name(lower(bare(command)), names))
            why += " Did you mean '" + *nearest + "'?";
        return why;
    }

    std::string suspicious_stanza(std::string_view name) const {
        if (name == reading_.stanza) return "";
        const bool cluster = is_cluster(name);
        if (!cluster && looks_like(name, kGlobal, /*strictly=*/false))
            return "This is the section of a stanza without a cluster. Did you mean '[global]'?";
        const std::string& wanted = reading_.stanza;
        if (!wanted.empty() && !is_there(wanted) && looks_like(name, wanted, cluster))
            return "There is no section of stanza '" + wanted + "'. Did you mean '[" + wanted +
                   "]'?";
        if (cluster) return "";
        for (const std::string& other : clusters_)
            if (looks_like(name, other, /*strictly=*/false))
                return "This is the section of a stanza without a cluster. Did you mean '[" +
                       other + "]'?";
        // Where no section has a cluster, repositories are looked at from afar.
        if (!clusters_.empty())
            return "This is the section of a stanza without a cluster, which only commands for "
                   "that stanza read; what is for all of them stands in '[global]'.";
        return "";
    }

    void look_at(const FileEntry& entry) {
        const std::string_view name = stanza_of(entry.section);
        const bool of_stanza = name != kGlobal;
        // What is in the section of another stanza concerns who works on that.
        if (of_stanza && !reading_.stanza.empty() && name != reading_.stanza) return;
        const auto named = find_option(entry.key);
        if (named && !named->index_missing && !named->index_invalid) {
            warn(entry, suspicious_value(*named->option, entry.value));
            if (!is_judged_here(entry, *named->option)) warn(entry, refusal(entry, *named->option));
        }
        if (is_read_here(entry)) return;
        if (const std::string why = misplaced_key(entry, of_stanza); !why.empty())
            warnings_.push_back("configuration file contains " + why +
                                "\nNOTE: " + shown_line(entry) + nearest_option_hint(entry.key));
    }

    bool is_read_here(const FileEntry& entry) const {
        return std::find(reading_.sections.begin(), reading_.sections.end(), entry.section) !=
               reading_.sections.end();
    }

    /// What the command reads, and knows, the resolver itself refuses.
    bool is_judged_here(const FileEntry& entry, const Option& option) const {
        return is_read_here(entry) && knows(reading_.command, option);
    }

    /// A command looks at the options that it knows only: without this a line that stops every
    /// backup would first be told of by the backup.
    std::string refusal(const FileEntry& entry, const Option& option) const {
        if (!misplaced_key(entry, stanza_of(entry.section) != kGlobal).empty()) return "";
        const FileEntry* former = set_before(entry);
        const std::string_view section = command_of(entry.section);
        for (const CommandInfo& command : command_table()) {
            if (command.internal || !option.commands.contains(command.id) ||
                (!section.empty() && section != command.name))
                continue;
            const std::string why =
                former != nullptr ? again(entry, *former) : refused_value(entry, option, command);
            if (!why.empty())
                return why + ": the command " + std::string(command.name) + " " +
                       std::string(kWillRefuse) + ".";
        }
        return "";
    }

    static std::string refused_value(const FileEntry& entry, const Option& option,
                                     const CommandInfo& command) {
        if (option.secret || !option.depends_on.empty()) return "";
        const auto taken = check_value(option, entry.key, command.id, entry.value);
        return taken ? "" : taken.error().message();
    }

    const FileEntry* set_before(const FileEntry& entry) const {
        for (const FileEntry& former : lines_.entries) {
            if (&former == &entry) return nullptr;
            if (set_twice(former, entry)) return &former;
        }
        return nullptr;
    }

    static std::string again(const FileEntry& entry, const FileEntry& former) {
        const std::string name = former.key == entry.key ? "" : " as '" + former.key + "'";
        return "It was set before" + name + " in section '[" + entry.section + "]'";
    }

    void warn(const FileEntry& entry, const std::string& why) {
        if (!why.empty())
            warnings_.push_back("configuration " + shown_line(entry) + "\nHINT: " + why);
    }

    const ConfigLines& lines_;
    const Reading& reading_;
    std::set<std::string> names_;     ///< stanzas with any section
    std::set<std::string> clusters_;  ///< those that say where a cluster is
    std::vector<std::string> warnings_;
};

}  // namespace

std::string shown_line(const FileEntry& entry) {
    const auto named = find_option(entry.key);
    return "file '" + entry.file + "', line " + std::to_string(entry.line) + ": " + entry.key +
           "=" + (named ? printable(shown_value(*named->option, entry.value)) : "<redacted>");
}

std::string suspicious_value(const Option& option, std::string_view text) {
    if (text.empty()) return "";
    // Around the value in a file they do not count; a variable or a file of its own is not trimmed.
    if (text.find('\n') != std::string_view::npos)
        return "There is more than one line in the value.";
    if (trim(text) != text) return "The blanks around the value are part of it.";
    if (const std::string what = invisible_in(text); !what.empty())
        return "There is " + what + " in the value.";
    if (is_for_shell(option)) return "";
    if (is_quoted(text)) return "The quotes are part of the value.";
    if (has_comment(text))
        return "What looks like a comment is part of the value: a comment stands on a line of its "
               "own.";
    if (text[0] == '=') return "The second '=' is part of the value.";
    if (text.back() == '\\')
        return "The backslash is part of the value: no line continues on the next.";
    if (has_assignment(text))
        return "What looks like another option is part of the value: each stands on a line of its "
               "own.";
    if (option.type == Type::path) return suspicious_path(text);
    return "";
}

std::string misplaced_key(const FileEntry& entry, bool of_stanza) {
    const auto named = find_option(entry.key);
    if (!named) {
        if (entry.key.starts_with("no-") && find_option(entry.key.substr(3)))
            return "negate option '" + entry.key + "'";
        if (entry.key.starts_with("reset-") && find_option(entry.key.substr(6)))
            return "reset option '" + entry.key + "'";
        return "invalid option '" + entry.key + "'";
    }
    if (named->option->section == Section::command_line)
        return "command-line only option '" + entry.key + "'";
    if (named->option->section == Section::stanza && !of_stanza)
        return "stanza-only option '" + entry.key + "' in global section '" + entry.section + "'";
    return "";
}

bool set_twice(const FileEntry& one, const FileEntry& other) {
    if (one.section != other.section) return false;
    const auto named = find_option(one.key);
    const auto other_named = find_option(other.key);
    if (!named || !other_named || named->option != other_named->option ||
        named->index != other_named->index)
        return false;
    return one.key != other.key || !is_many(*named->option);
}

std::string nearest_option_hint(std::string_view key) {
    constexpr std::size_t kShort = 6;
    if (find_option(key) || key.size() < kShort) return "";
    const std::string name = lower(key);
    // What these would mean is known; that it cannot be said there, too.
    if (name.starts_with("no-") || name.starts_with("reset-")) return "";
    const std::size_t digit = std::min(name.find_first_of("0123456789"), name.size());
    const auto index = name.substr(digit, name.find_first_not_of("0123456789", digit) - digit);
    std::vector<std::string> names = names_with_index(0);
    const unsigned number = static_cast<unsigned>(parse_uint(index).value_or(0));
    if (number >= 1 && number <= kIndexMax) {
        const std::vector<std::string> more = names_with_index(number);
        names.insert(names.end(), more.begin(), more.end());
    }
    const auto nearest = nearest_name(name, names);
    return nearest ? "\nHINT: Did you mean " + *nearest + "?" : "";
}

std::vector<std::string> suspicions(const FileContent& content, const ConfigLines& lines,
                                    const Reading& reading) {
    std::vector<std::string> warnings = Suspect(lines, reading).all();
    for (const std::string& path : content.passed_over)
        warnings.push_back("file '" + printable(path) +
                           "' is not read\nHINT: The name of an included file ends with '.conf'.");
    return warnings;
}

std::vector<std::string> suspicious_variables(const std::vector<std::string>& environment) {
    std::vector<std::string> warnings;
    for (const std::string_view variable : environment) {
        const std::string_view written = variable.substr(0, variable.find('='));
        std::string name = lower(written);
        std::replace(name.begin(), name.end(), '-', '_');
        for (const std::string_view prefix : {"chronos_", "pgbackrest_"}) {
            if (!name.starts_with(prefix)) continue;
            std::string option = name.substr(prefix.size());
            std::replace(option.begin(), option.end(), '_', '-');
            std::string exact(prefix);
            for (char& c : exact)
                if (c != '_') c = static_cast<char>(c - 'a' + 'A');
            if (!written.starts_with(exact) && find_option(option))
                warnings.push_back("environment variable '" + printable(written) +
                                   "' is not read\nHINT: Its name would have to begin with '" +
                                   exact + "'.");
        }
    }
    return warnings;
}

}  // namespace chronos::config
