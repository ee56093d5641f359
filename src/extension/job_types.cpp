#include "extension/job_types.h"

#include "extension/postgres_api.h"

namespace chronos::extension {

const JobType* find_job_type(const char* name) {
    for (const JobType& type : kJobTypes)
        if (strcmp(type.name, name) == 0) return &type;
    return nullptr;
}

const JobType* find_startable_type(const char* name) {
    const JobType* type = find_job_type(name);
    return type != nullptr && type->function == nullptr ? type : nullptr;
}

const char* job_type_names(bool backups_only) {
    static char names[256];
    names[0] = '\0';
    for (const JobType& type : kJobTypes) {
        if ((backups_only && !type.in_session) || type.function != nullptr) continue;
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
    for (const char* const* taken = type->options; *taken != nullptr; ++taken)
        if (strcmp(*taken, option) == 0) return true;
    return false;
}

}  // namespace chronos::extension
