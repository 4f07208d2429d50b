# The program everdue-worker, with a made-up library behind it: scripted tasks, no broker.
add_library(fake_worker STATIC fake_worker.c handler_fixture.c ${PROJECT_SOURCE_DIR}/client/types.c)
target_include_directories(fake_worker PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(fake_worker PUBLIC worker_program PkgConfig::CMOCKA PRIVATE warnings)

function(add_worker_test name)
    add_unit_test(${name} worker_program fake_worker worker_program)
    set_tests_properties(${name} PROPERTIES TIMEOUT 60)
endfunction()

add_worker_test(task_json)
add_worker_test(worker_options)
add_worker_test(supervisor)
add_unit_test(launch worker_program)
add_worker_test(handler_exec)
add_worker_test(handler_exec_end)
add_worker_test(handler_pipe)

# A plugin finds the library's functions in the program; libeverdue is a shared object, but no plugin.
add_executable(test_handler_plugin test_handler_plugin.c)
set_target_properties(test_handler_plugin PROPERTIES ENABLE_EXPORTS ON)
target_link_libraries(test_handler_plugin PRIVATE worker_program fake_worker worker_program warnings
    PkgConfig::CMOCKA)
add_library(plugin MODULE plugin.c)
target_include_directories(plugin PRIVATE ${PROJECT_SOURCE_DIR}/client/include)
target_link_libraries(plugin PRIVATE warnings)
add_test(NAME handler_plugin
    COMMAND test_handler_plugin $<TARGET_FILE:integrity> $<TARGET_FILE:plugin>
    $<TARGET_FILE:libeverdue>)
set_tests_properties(handler_plugin PROPERTIES TIMEOUT 60)
