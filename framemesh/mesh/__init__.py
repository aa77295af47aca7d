"""The one-machine mesh behind `framemesh up`: real servers, supervised services, a report counted from the stores."""
