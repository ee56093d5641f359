#include "extension/job_types.h"

#include "extension/postgres_api.h"

namespace chronos::extension {
namespace {

constexpr const char* kBackupOptions =
    "|annotation|delta|exclude|expire-auto|process-max|repo|resume|start-fast|";

constexpr JobType kTypes[] = {
    {"full", "full backup", "backup", "--type=full", kBackupOptions, true, true, true, true},
    {"diff", "diff backup", "backup", "--type=diff", kBackupOptions, true, true, true, true},
    {"incr", "incr backup", "backup", "--type=incr", kBackupOptions, true, true, true, true},
    {"verify", "verify", "verify", nullptr, "|full|process-max|rate-limit|repo|set|", false, false,
     false, true},
    {"expire", "expire", "expire", nullptr, "|dry-run|process-max|repo|set|", false, true, true,
     true},
    {"maintenance", "maintenance", "maintenance", nullptr, "|dry-run|repo|upload-age|", false,
     false, false, false},
    {"drill", "drill", "drill", nullptr,
     "|amcheck|assert|process-max|reason|repo|set|target|target-timeline|type|", false, false, true,
     true},
};

}  // namespace

const JobType* find_job_type(const char* name) {
    for (const JobType& type : kTypes)
        if (strcmp(type.name, name) == 0) return &type;
    return nullptr;
}

const char* job_type_names(bool backups_only) {
    static char names[256];
    names[0] = '\0';
    for (const JobType& type : kTypes) {
        if (backups_only && !type.in_session) continue;
        if (names[0] != '\0') strlcat(names, ", ", sizeof names);
        strlcat(names, type.name, sizeof names);
    }
    return names;
}

bool job_type_covers(const JobType* done, const JobType* wanted) {
    // The table has them in the order of what they cover.
    if (done->in_session && wanted->in_session) return done <= wanted;
    return done == wanted;
}

bool job_type_takes(const JobType* type, const char* option) {
    if (*option == '\0' || strchr(option, '|') != nullptr) return false;
    return strstr(type->options, psprintf("|%s|", option)) != nullptr;
}

}  // namespace chronos::extension
