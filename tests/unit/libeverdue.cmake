# The tests of libeverdue: the pure session, and worker and client against a made-up broker.
set(unit_folder ${CMAKE_CURRENT_LIST_DIR})

add_unit_test(session session_pure)
target_sources(test_session PRIVATE ${unit_folder}/session_story.c)
add_unit_test(session_work session_pure)
target_sources(test_session_work PRIVATE ${unit_folder}/session_story.c)
add_unit_test(session_resume session_pure)
target_sources(test_session_resume PRIVATE ${unit_folder}/session_story.c)
add_unit_test(session_memory session_pure)
target_sources(test_session_memory PRIVATE ${unit_folder}/session_story.c)
target_link_options(test_session_memory PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc
    -Wl,--wrap=realloc)
add_unit_test(link_watch common)

function(add_broker_test name)
    add_unit_test(${name} libeverdue_static common common_pure)
    target_sources(test_${name} PRIVATE ${unit_folder}/fake_broker.c)
    target_include_directories(test_${name} PRIVATE ${unit_folder})
endfunction()
add_broker_test(client)
add_broker_test(client_look)
add_broker_test(client_sync)
target_link_libraries(test_client_sync PRIVATE PkgConfig::ZLIB)
foreach(name worker worker_restart)
    add_broker_test(${name})
    target_sources(test_${name} PRIVATE ${unit_folder}/worker_fixture.c)
    set_tests_properties(${name} PROPERTIES TIMEOUT 60)
endforeach()

# The public headers are for C++, too; looked at where there is a compiler for it.
find_program(CPLUSPLUS NAMES g++ clang++)
if(CPLUSPLUS)
    add_test(NAME headers_are_for_cplusplus_too COMMAND ${CPLUSPLUS} -std=c++11 -Wall -Wextra
        -Werror -fsyntax-only -I${unit_folder}/../../client/include ${unit_folder}/header.cc)
endif()
