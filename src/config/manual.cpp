#include "chronos/base/text.h"
#include "chronos/config/help.h"
#include "config/option_text.h"

namespace chronos::config {
namespace {

/// Text as it stands, for troff: neither escapes nor requests, and a hyphen is the character to be
/// copied from the page.
std::string escaped(std::string_view text) {
    std::string result;
    if (text.starts_with('.') || text.starts_with('\'')) result += "\\&";
    for (const char character : text) {
        if (character == '\\')
            result += "\\e";
        else if (character == '-')
            result += "\\-";
        else if (character == '\'')
            result += "\\(aq";
        else
            result += character;
    }
    return result;
}

std::string section(std::string_view title) {
    std::string name;
    for (const char character : title)
        name += character >= 'a' && character <= 'z' ? static_cast<char>(character - 'a' + 'A')
                                                     : character;
    return ".SH " + name + "\n";
}

/// What a page begins with. Words are there to be copied: none is torn apart.
std::string page(const std::string& title, const std::string& chapter, const std::string& made_by) {
    return ".\\\" Made by `" + made_by + "` from the tables of src/config.\n.TH " + title + " " +
           chapter + " \"\" \"chronos_backup\" \"Backup of PostgreSQL\"\n.nh\n.ad l\n";
}

std::string paragraph(std::string_view text) {
    return ".PP\n" + escaped(text) + "\n";
}

/// `mark` is bold; what stands behind it may be empty.
std::string item(std::string_view mark, std::string_view behind, std::string_view text) {
    const std::string space = behind.empty() ? "" : " ";
    return ".TP\n\\fB" + escaped(mark) + "\\fR" + space + escaped(behind) + "\n" + escaped(text) +
           "\n";
}

std::string example(std::string_view text) {
    std::string lines;
    for (const std::string_view line : split(text, '\n')) lines += escaped(line) + "\n";
    return ".PP\n.nf\n.RS 4\n" + lines + ".RE\n.fi\n";
}

/// One entry of a page, with all that the table says.
std::string entry(const Option& option, const std::string& name) {
    std::string text = sentence(option.summary);
    if (!option.details.empty()) text += " " + std::string(option.details);
    if (!option.allowed.empty()) text += " Allowed: " + comma_list(option.allowed) + ".";
    if (const std::string value = shown_default(option, CommandId::backup); !value.empty())
        text += " Default: " + value + ".";
    if (!option.depends_on.empty())
        text += " Needs " + std::string(option.depends_on) +
                (option.depends_values.empty() ? "" : " = " + comma_list(option.depends_values)) +
                ".";
    text += " Commands: " + commands_text(option.commands) + ".";
    if (!option.aliases.empty()) text += " Former names: " + comma_list(option.aliases) + ".";
    return item(name, type_text(option.type), text);
}

template <class Wanted>
std::string entries(std::string_view prefix, Wanted wanted) {
    std::string text;
    for (const std::string_view title : kOptionHeadings) {
        std::string group;
        for (const Option& option : option_table())
            if (!option.internal && heading(option) == title && wanted(option))
                group += entry(option, std::string(prefix) + shown_name(option));
        if (!group.empty()) text += ".SS " + std::string(title) + "\n" + group;
    }
    return text;
}

std::string commands() {
    std::string text;
    for (const CommandInfo& command : command_table()) {
        if (command.internal) continue;
        std::string meaning(command.summary);
        if (!command.details.empty()) meaning += " " + std::string(command.details);
        text += item(command.name, "", meaning);
    }
    return text;
}

std::string files() {
    return item("/etc/chronos/chronos.conf", "",
                "The configuration, else /etc/pgbackrest/pgbackrest.conf, else "
                "/etc/pgbackrest.conf; and behind it *.conf of the directory conf.d beside it. See "
                "chronos.conf(5).") +
           item("/var/log/pgbackrest", "", "Log files, a file for each stanza and command.") +
           item("/var/spool/pgbackrest", "", "WAL that was fetched ahead.");
}

}  // namespace

std::string manual_page() {
    return page("CHRONOS", "1", "chronos help --output=man") + section("Name") +
           "chronos \\- backup and point\\-in\\-time recovery of PostgreSQL\n" +
           section("Synopsis") + "\\fBchronos\\fR [\\fIoptions\\fR] \\fIcommand\\fR\n" +
           section("Description") +
           paragraph(
               "Backs up a PostgreSQL cluster and its WAL into repositories that pgBackRest "
               "reads and writes too, and restores from them. The server's module "
               "chronos_backup starts it for backups and archiving; restore, info and the "
               "like are for people, and need the repository and the configuration only.") +
           section("Commands") + commands() + section("Options") +
           paragraph(
               "Every option but those that only a command line can mean may also stand in "
               "the configuration file, or in the environment: --repo1-path is "
               "CHRONOS_REPO1_PATH (or PGBACKREST_REPO1_PATH). The command line counts "
               "before the environment, and that before the file. <N> is the number of a "
               "repository or cluster, 1 to 256. An option that is y or n is set by its name "
               "alone, and unset by --no- in front; --reset- takes the default. Secrets may "
               "stand in the file or the environment only.") +
           entries("--", [](const Option& option) { return !option.secret; }) +
           section("Exit status") +
           paragraph(
               "0 if it worked. Otherwise the code of the error as of pgBackRest, which is "
               "also in its message; 1 of archive-get: there is no such segment.") +
           section("Files") + files() + section("Examples") +
           example(
               "chronos --stanza=main info\n"
               "chronos --stanza=main restore --plan --type=time "
               "--target='2026-11-20 08:11:30+00'\n"
               "chronos --stanza=main restore --delta --type=time "
               "--target='2026-11-20 08:11:30+00'") +
           section("See also") +
           "\\fBchronos.conf\\fR(5), \\fBpg_ctlcluster\\fR(1), \\fBpgbackrest\\fR(1)\n";
}

std::string configuration_page() {
    return page("CHRONOS.CONF", "5", "chronos help --output=man chronos.conf") + section("Name") +
           "chronos.conf \\- configuration of chronos\n" + section("Synopsis") +
           ".nf\n/etc/chronos/chronos.conf\n/etc/chronos/conf.d/*.conf\n.fi\n" +
           section("Description") +
           paragraph(
               "Which repositories there are, which cluster a stanza is, and how commands "
               "work. A pgbackrest.conf is such a file, and is read where there is no "
               "chronos.conf. `chronos config-list` shows what a command makes of it.") +
           paragraph(
               "A line is key=value. What begins with # is a comment; nothing else is, and "
               "quotes are part of a value. The section [main] holds what is said of the "
               "stanza main, [global] what is said of all; [main:restore] and "
               "[global:restore] count for that command only, and before those.") +
           section("Example") +
           example(
               "[global]\nrepo1-path=/var/lib/chronos\nrepo1-retention-full=2\n\n[main]\n"
               "pg1-path=/var/lib/postgresql/<version>/main") +
           section("Options") +
           entries("",
                   [](const Option& option) { return option.section != Section::command_line; }) +
           section("See also") + "\\fBchronos\\fR(1)\n";
}

}  // namespace chronos::config
